// SPDX-License-Identifier: Apache-2.0

// Package forward passes TCP connections on, as a Service does:
//
//	f, err := forward.Start(ctx, dial)
//	defer f.Stop()
//	… f.Address
package forward

import (
	"context"
	"io"
	"net"
	"sync"
)

// Forward listens for connections and passes them on.
type Forward struct {
	Address string // a free port on loopback

	listener net.Listener
	cancel   context.CancelFunc
	running  sync.WaitGroup
}

// Start listens on loopback. It passes each connection on to the one that dial returns, and closes
// the connection if dial fails. The end of ctx has no effect. The caller must call Stop.
func Start(
	ctx context.Context, dial func(context.Context) (net.Conn, error),
) (*Forward, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &Forward{Address: listener.Addr().String(), listener: listener, cancel: cancel}
	f.running.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return // the listener was closed
			}
			f.running.Go(func() { pass(ctx, in, dial) })
		}
	})
	return f, nil
}

// Stop closes the listener and all connections, and waits until they are closed.
func (f *Forward) Stop() {
	_ = f.listener.Close()
	f.cancel()
	f.running.Wait()
}

// pass passes a connection on until one of its sides closes it or ctx ends.
func pass(ctx context.Context, in net.Conn, dial func(context.Context) (net.Conn, error)) {
	defer in.Close() //nolint:errcheck // it may be closed
	out, err := dial(ctx)
	if err != nil {
		return
	}
	closeBoth := func() {
		_, _ = in.Close(), out.Close() // they may be closed
	}
	defer context.AfterFunc(ctx, closeBoth)()
	var both sync.WaitGroup
	for _, side := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			defer closeBoth()
			_, _ = io.Copy(side[1], side[0])
		})
	}
	both.Wait()
}
