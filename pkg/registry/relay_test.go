// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// relay forwards connections to a server.
type relay struct {
	net.Listener

	server string
	open   atomic.Int64 // connections from clients
	mu     sync.Mutex
	conns  []net.Conn // from clients, also those that were closed
}

func newRelay(t *testing.T, server string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, server: server}
	t.Cleanup(r.close)
	go r.serve()
	return r
}

func (r *relay) serve() {
	for {
		client, err := r.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.server)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.conns = append(r.conns, client)
		r.mu.Unlock()
		r.open.Add(1)
		forward := func(to io.WriteCloser, from io.Reader) {
			defer func() { _ = to.Close() }()
			_, _ = io.Copy(to, from)
		}
		go forward(client, server)
		go func() { forward(server, client); r.open.Add(-1) }()
	}
}

// close ends all connections, because one that was forgotten does not end by itself.
func (r *relay) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	_ = r.Close()
}
