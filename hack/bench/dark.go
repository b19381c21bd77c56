// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// newDarkHost returns the address of a host that never answers: the kernel drops what arrives
// there, because the queue of connections is full and nobody accepts one. closeAll frees the
// address.
func newDarkHost(ctx context.Context) (address string, closeAll func(), err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	open := []interface{ Close() error }{l}
	closeAll = func() {
		for _, c := range open {
			_ = c.Close() // nothing was sent
		}
	}
	if err := shortenQueue(l.(*net.TCPListener)); err != nil {
		closeAll()
		return "", nil, err
	}
	const (
		enough  = 16 // more than a short queue holds
		refused = 300 * time.Millisecond
	)
	for range enough {
		d := net.Dialer{Timeout: refused}
		conn, err := d.DialContext(ctx, "tcp", l.Addr().String())
		if err != nil {
			return l.Addr().String(), closeAll, nil //nolint:nilerr // the queue is full, as it should be
		}
		open = append(open, conn)
	}
	closeAll()
	return "", nil, errors.New("the kernel accepts more connections than a short queue holds")
}

// shortenQueue makes the queue of connections as short as the kernel allows.
func shortenQueue(l syscall.Conn) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var short error
	err = raw.Control(func(fd uintptr) { short = unix.Listen(int(fd), 0) })
	return errors.Join(err, short)
}
