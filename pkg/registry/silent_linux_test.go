// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net"
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
)

// forget lets the kernel drop what comes on the connections so far, without a word to the peer, as
// a firewall does that has forgotten them. It returns their number.
func (r *relay) forget(t *testing.T) int {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	dropAll := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}} // 0 bytes of each packet pass
	for _, conn := range r.conns {
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var attached error
		err = raw.Control(func(fd uintptr) {
			program := &unix.SockFprog{Len: uint16(len(dropAll)), Filter: &dropAll[0]}
			attached = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, program)
		})
		if err != nil || attached != nil {
			t.Fatal(err, attached)
		}
	}
	return len(r.conns)
}

// TestSilentConnection checks that a lookup succeeds though the connection of the one before it has
// silently gone (R48).
func TestSilentConnection(t *testing.T) {
	t.Parallel() // because it waits
	_, server, c := registry.Serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range registrytest.Image.Header {
			w.Header().Set(name, value)
		}
	})
	r := newRelay(t, server)
	req := registry.Request{Ref: ref.MustParse(r.Addr().String() + "/app:1")}
	for i := range 2 {
		if _, err := c.Digest(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		if n := r.forget(t); n != i+1 {
			t.Errorf("%d connections, want %d", n, i+1)
		}
	}
}
