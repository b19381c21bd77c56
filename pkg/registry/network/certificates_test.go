// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"

	"github.com/tagpin/tagpin/pkg/chain/chaintest"
	"github.com/tagpin/tagpin/pkg/fair"
)

const needsChecks = "its TLS certificates need more than 16 checks of signatures, where an RSA key " +
	"of more than 4096 bits or a large exponent, or a key on P-521, counts as 4"

// TestHostOfCertificates checks that certificates only count for the host that is dialled.
func TestHostOfCertificates(t *testing.T) {
	leaf := chaintest.Issue(t, "leaf", chaintest.NewKey(t, elliptic.P256()), nil)
	settings := tlsSettings{roots: x509.NewCertPool()}
	settings.roots.AddCert(leaf.Certificate)
	if err := settings.verify("registry.example", chaintest.Of(leaf)); err != nil {
		t.Errorf("%v, want no error", err)
	}
	for _, other := range []string{"other.example", "192.0.2.1", ""} {
		err := settings.verify(other, chaintest.Of(leaf))
		if !errors.As(err, new(x509.HostnameError)) {
			t.Errorf("for the host %q: %v, want a HostnameError", other, err)
		}
	}
}

// serve returns a server with these certificates.
func serve(t *testing.T, key crypto.Signer, chain []*x509.Certificate) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that the client hangs up
	own := tls.Certificate{PrivateKey: key}
	for _, c := range chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{own}} //nolint:gosec // of a test
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// TestCertificatesOfServer checks that the certificates of a server are bounded and verified, for
// a name and for an address, directly and through a proxy.
func TestCertificatesOfServer(t *testing.T) {
	proxy, _ := tunnels(t)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(proxy.Certificate())
	key := chaintest.NewKey(t, elliptic.P256())
	trusted := chaintest.Issue(t, "leaf", key, nil) // for registry.example
	roots.AddCert(trusted.Certificate)
	const otherHost = "its TLS certificate is for another host"
	for name, tt := range map[string]struct {
		server          *httptest.Server
		byName, byPlace string
	}{
		"another host": {serve(t, key, chaintest.Of(trusted)), otherHost, otherHost},
		"the attack":   {serve(t, key, chaintest.Layers(t, key, 3, 3)), needsChecks, needsChecks},
		"for the address alone": {
			httptest.NewTLSServer(http.NotFoundHandler()), otherHost, "",
		},
	} {
		t.Cleanup(tt.server.Close)
		at, err := url.Parse(tt.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		for _, by := range []func(*http.Request) (*url.URL, error){
			func(*http.Request) (*url.URL, error) { return nil, nil }, http.ProxyURL(address),
		} {
			n := &Network{
				Rules: Rules{Allow: []netip.Prefix{
					netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
				}},
				Dials: &fair.Room{Capacity: 4}, Roots: roots, Proxy: by,
				Named: func(string) bool { return true },
			}
			for host, want := range map[string]string{
				"localhost:" + at.Port(): tt.byName, at.Host: tt.byPlace,
			} {
				if got := reasonOf(t, n, "https://"+host); got != want {
					t.Errorf("%s: %s: %q, want %q", name, host, got, want)
				}
				if inUse := n.Dials.Stats().InUse; inUse != 0 {
					t.Errorf("%s: %s: %d places are in use, want 0", name, host, inUse)
				}
			}
		}
	}
}
