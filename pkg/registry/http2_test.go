// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// relay forwards connections to a server. After freeze it keeps those that there are and forwards
// nothing more on them, as a firewall that has forgotten them.
type relay struct {
	net.Listener

	server string
	frozen atomic.Int64 // the connections before this one
	count  atomic.Int64 // connections so far
}

func (r *relay) freeze() { r.frozen.Store(r.count.Load()) }

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
		number := r.count.Add(1)
		go r.copy(client, server, number)
		go r.copy(server, client, number)
	}
}

func (r *relay) copy(to io.WriteCloser, from io.Reader, number int64) {
	defer func() { _ = to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if r.frozen.Load() >= number {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestSilentConnection checks that a lookup succeeds though the HTTP/2 connection of the one before
// it has silently gone (R48).
func TestSilentConnection(t *testing.T) {
	t.Parallel() // because it waits
	_, server, c := registry.HTTP2(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range registrytest.Image.Header {
			w.Header().Set(name, value)
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	r := &relay{Listener: l, server: server}
	go r.serve()
	req := registry.Request{Ref: ref.MustParse(l.Addr().String() + "/app:1")}
	for range 2 {
		if _, err := c.Digest(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		r.freeze()
	}
	if n := r.count.Load(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
}
