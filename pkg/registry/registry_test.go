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
	network := registry.Network{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct{ file, want string }{
		{file, ""},
		{"", "signed by an unknown authority; see caFile"},
		{file + ".missing", "no such file"},
	} {
		c := &registry.Client{Network: network, Hosts: []registry.Host{{Name: host, CAFile: tt.file}}}
		_, err := c.Manifest(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1"), Method: http.MethodHead})
		c.Close()
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("caFile %q: %v, want %q", tt.file, err, tt.want)
		}
	}
}

func TestNetworkCheck(t *testing.T) {
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	n := registry.Network{Allow: prefixes("127.0.0.0/8", "10.0.0.0/8"), Deny: prefixes("10.1.0.0/16", "203.0.113.0/24")}
	for _, tt := range []struct {
		network registry.Network
		addr    string
		allowed bool
	}{
		{registry.Network{}, "8.8.8.8", true},
		{registry.Network{}, "10.2.3.4", true},
		{registry.Network{}, "2600::1", true},
		{registry.Network{}, "127.0.0.1", false},
		{registry.Network{}, "::1", false},
		{registry.Network{}, "::ffff:127.0.0.1", false},
		{registry.Network{}, "0.0.0.0", false},
		{registry.Network{}, "0.1.2.3", false},
		{registry.Network{}, "::", false},
		{registry.Network{}, "169.254.169.254", false},
		{registry.Network{}, "::ffff:169.254.169.254", false},
		{registry.Network{}, "fe80::1%eth0", false},
		{registry.Network{}, "224.0.0.1", false},
		{registry.Network{}, "ff02::1", false},
		{registry.Network{}, "168.63.129.16", false},
		{registry.Network{}, "100.100.100.200", false},
		{registry.Network{}, "192.0.0.192", false},
		{registry.Network{}, "fd00:ec2::254", false},
		{registry.Network{}, "fd00:ec2::23", false},
		{registry.Network{}, "fd20:ce::254", false},
		{registry.Network{}, "fd00:42::42", false},
		{registry.Network{}, "::ffff:0:a9fe:a9fe", false},
		{registry.Network{}, "fd00:1::254", true},
		{registry.Network{}, "64:ff9b::a9fe:a9fe", false},
		{registry.Network{}, "64:ff9b:1::1", false},
		{registry.Network{}, "2002:7f00:1::", false},
		{registry.Network{}, "::127.0.0.1", false},
		{n, "127.0.0.1", true},
		{n, "::ffff:127.0.0.1", true},
		{n, "10.2.0.1", true},
		{n, "10.1.0.1", false},
		{n, "203.0.113.9", false},
		{n, "::1", false},
	} {
		if err := tt.network.Check(netip.MustParseAddr(tt.addr)); (err == nil) != tt.allowed {
			t.Errorf("Check(%s) = %v, want allowed %t", tt.addr, err, tt.allowed)
		}
	}
}

// TestReasons: who names a host in the config, or asks from a command line, is told what the network said; a tenant is
// not, since it would tell what is reachable from here.
func TestReasons(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	allow := registry.Network{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	for _, tt := range []struct {
		name, host string
		network    registry.Network
		want       string
	}{
		{"no TLS", strings.TrimPrefix(plain.URL, "http://"), allow, "it does not speak TLS; see insecure"},
		{"closed", strings.TrimPrefix(closed.URL, "http://"), allow, "connection refused"},
		{"unknown CA", strings.TrimPrefix(other.URL, "https://"), allow, "its TLS certificate is signed by an unknown authority; see caFile"},
		{"no such host", "registry.invalid", allow, "DNS"},
		{"address", strings.TrimPrefix(plain.URL, "http://"), registry.Network{}, "its address is not allowed; see network.allow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for client, want := range map[*registry.Client]string{
				{Network: tt.network, Hosts: []registry.Host{{Name: tt.host}}}: tt.want,
				{Network: tt.network, ExplainAll: true}:                        tt.want,
				{Network: tt.network}:                                          "unreachable",
			} {
				_, err := client.Manifest(t.Context(), registry.Request{Ref: ref.MustParse(tt.host + "/a:1"), Method: http.MethodHead})
				client.Close()
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Manifest = %v, want %s", err, want)
				}
			}
		})
	}
}

// Waiting for a place among the requests is the caller's time; a request's own begins when it is sent.
func TestQueue(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "http://")
	c := &registry.Client{
		Network: registry.Network{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Hosts:   []registry.Host{{Name: host, Insecure: true, RequestsPerSecond: 20, Timeout: 200 * time.Millisecond}},
	}
	defer c.Close()
	errs := make(chan error)
	for range 30 { // ten more than there is room for in a second
		go func() {
			_, err := c.Manifest(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1"), Method: http.MethodHead})
			errs <- err
		}()
	}
	for range 30 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
