// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// A manifest that waits for room is not read into HTTP/2's own buffers meanwhile.
func TestUnreadBodyIsNotBuffered(t *testing.T) {
	var written atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("%s, want HTTP/2", r.Proto)
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		for range registry.MaxManifest >> 10 {
			n, err := w.Write(make([]byte, 1<<10))
			written.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	q := &fair.Queue{Capacity: registry.MaxManifest}
	leave, err := q.Enter(t.Context(), "other", registry.MaxManifest)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	c := &registry.Client{
		Network: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		RootCAs: pool, Manifests: q,
		Hosts: []registry.Host{{Name: "*", Timeout: 300 * time.Millisecond}},
	}
	defer c.Close()
	image := ref.MustParse(strings.TrimPrefix(s.URL, "https://") + "/a:1")
	for range 2 { // no gate is closed
		_, err = c.Manifest(t.Context(), registry.Request{Ref: image})
		if err == nil || !strings.Contains(err.Error(), "too many large ones are being read") {
			t.Errorf("Manifest = %v, want no room", err)
		}
	}
	if n := written.Load(); n > 1<<20 {
		t.Errorf("%d bytes were sent of two manifests that nobody reads, want no more than some buffers", n)
	}
}
