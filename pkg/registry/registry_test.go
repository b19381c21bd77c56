// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestCAFile trusts a registry by a file alone, beside the system's certificates.
func TestCAFile(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	network := network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct{ file, want string }{
		{file, ""},
		{"", "signed by an unknown authority; see caFile"},
		{file + ".missing", "no such file"},
	} {
		c := &registry.Client{Network: network, Hosts: []registry.Host{{Name: host, CAFile: tt.file}}}
		_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")})
		c.Close()
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("caFile %q: %v, want %q", tt.file, err, tt.want)
		}
	}
}

// TestReasons: who names a host in the config, or asks from a command line, is told what the
// network said; a tenant is not, since it would tell what is reachable from here.
func TestReasons(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	allow := network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct {
		name, host string
		network    network.Rules
		want       string
	}{
		{"no TLS", strings.TrimPrefix(plain.URL, "http://"), allow, "it does not speak TLS; see insecure"},
		{"closed", strings.TrimPrefix(closed.URL, "http://"), allow, "connection refused"},
		{"unknown CA", strings.TrimPrefix(other.URL, "https://"), allow, "its TLS certificate is signed by an unknown authority; see caFile"},
		{"no such host", "registry.invalid", allow, "DNS"},
		{"address", strings.TrimPrefix(plain.URL, "http://"), network.Rules{}, "its address is not allowed; see network.allow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for client, want := range map[*registry.Client]string{
				{Network: tt.network, Hosts: []registry.Host{{Name: tt.host}}}: tt.want,
				{Network: tt.network, ExplainAll: true}:                        tt.want,
				{Network: tt.network}:                                          "unreachable",
			} {
				_, err := client.Head(t.Context(), registry.Request{Ref: ref.MustParse(tt.host + "/a:1")})
				client.Close()
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Manifest = %v, want %s", err, want)
				}
			}
		})
	}
}

// Waiting for a place among the requests is the caller's time; a request's own begins when it is
// sent.
func TestQueue(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	c := &registry.Client{
		Network: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Hosts:   []registry.Host{{Name: host, Insecure: true, RequestsPerSecond: 20, Timeout: 200 * time.Millisecond}},
	}
	defer c.Close()
	errs := make(chan error)
	for range 30 { // ten more than there is room for in a second
		go func() {
			_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")})
			errs <- err
		}()
	}
	for range 30 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
