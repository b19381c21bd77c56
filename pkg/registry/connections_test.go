// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestIdleConnectionsAreBounded checks that tagpin keeps a bounded number of connections to the
// registries of a tenant who has very many hosts, also to those that prefer HTTP/2.
func TestIdleConnectionsAreBounded(t *testing.T) {
	const hosts, most = 400, 256
	_, server, c := registry.Serve(t, func(http.ResponseWriter, *http.Request) {})
	r := newRelay(t, server)
	_, port, err := net.SplitHostPort(r.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	addresses := map[string][]string{}
	for i := range hosts {
		addresses[fmt.Sprintf("r%d.example.com", i)] = []string{"127.0.0.1"}
	}
	c.Network.Resolver = nameserver(t, addresses)
	for name := range addresses { // the server's certificate is for *.example.com
		req := registry.Request{Ref: ref.MustParse(name + ":" + port + "/a:1")}
		if _, err := c.Head(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	for begin := time.Now(); r.open.Load() > most; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			t.Fatalf("%d connections are open, want at most %d", r.open.Load(), most)
		}
	}
}
