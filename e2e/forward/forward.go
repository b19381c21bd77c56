// SPDX-License-Identifier: Apache-2.0

// Package forward passes TCP connections on, as a Service does.
package forward

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
)

// Start listens on loopback until the test ends. It passes each connection on to the one that dial
// returns, and closes the connection if dial fails.
func Start(t testing.TB, dial func(context.Context) (net.Conn, error)) (address string) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return // the listener was closed
			}
			running.Go(func() { pass(ctx, in, dial) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		cancel()
		running.Wait()
	})
	return listener.Addr().String()
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
