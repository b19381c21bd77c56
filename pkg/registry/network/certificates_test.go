// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

// issued is a certificate with its key.
type issued struct {
	*x509.Certificate
	key crypto.Signer
}

func newKey(tb testing.TB, curve elliptic.Curve) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// issue returns a new certificate of a CA, or of the host registry.example. If issuer is nil, it is
// its own issuer.
func issue(tb testing.TB, name string, key crypto.Signer, issuer *issued) *issued {
	tb.Helper()
	return certify(tb, name, key, key.Public(), issuer)
}

// certify is issue for any public key. key may then be nil.
func certify(
	tb testing.TB, name string, key crypto.Signer, public any, issuer *issued,
) *issued {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{CommonName: name}, IsCA: name != "leaf", BasicConstraintsValid: true,
	}
	if name == "leaf" {
		template.DNSNames = []string{"registry.example"}
	} else {
		template.DNSNames = []string{serial.String()} // x509 takes them for different CAs
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.Certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &issued{c, key}
}

func chainOf(certificates ...*issued) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, c := range certificates {
		chain = append(chain, c.Certificate)
	}
	return chain
}

// layers returns a leaf and certificates of CAs in layers, which all have the same key. Each
// certificate fits each of the layer before it.
func layers(tb testing.TB, key crypto.Signer, names, inLayer int) []*x509.Certificate {
	tb.Helper()
	name := func(i int) string { return "layer " + string(rune('a'+i)) }
	issuer := issue(tb, name(0), key, nil)
	chain := chainOf(issue(tb, "leaf", key, issuer))
	for i := range names {
		next := issue(tb, name(i+1), key, nil)
		for range inLayer {
			chain = append(chain, issue(tb, name(i), key, next).Certificate)
		}
	}
	return chain
}

// TestOrdinaryChains checks that chains that registries have are verified, in any order.
func TestOrdinaryChains(t *testing.T) {
	key := func() crypto.Signer { return newKey(t, elliptic.P256()) }
	root, old := issue(t, "root", key(), nil), issue(t, "old root", key(), nil)
	policy := issue(t, "policy", key(), root)
	issuing := issue(t, "issuing", key(), policy)
	again := issue(t, "issuing", issuing.key, policy) // as after a renewal
	cross, policyAgain := issue(t, "root", root.key, old), issue(t, "policy", policy.key, root)
	leaf := issue(t, "leaf", key(), issuing)

	large := issue(t, "large root", newKey(t, elliptic.P521()), nil)
	largePolicy := issue(t, "large policy", newKey(t, elliptic.P521()), large)
	largeIssuing := issue(t, "large issuing", newKey(t, elliptic.P521()), largePolicy)
	largeLeaf := issue(t, "leaf", newKey(t, elliptic.P521()), largeIssuing)

	for name, tt := range map[string]struct {
		root *issued
		sent []*x509.Certificate
	}{
		"the leaf alone, which is trusted": {leaf, chainOf(leaf)},
		"without the root":                 {root, chainOf(leaf, issuing, policy)},
		"with the root":                    {root, chainOf(leaf, issuing, policy, root)},
		"cross-signed, by the new root":    {root, chainOf(leaf, issuing, policy, cross)},
		"cross-signed, by the old root":    {old, chainOf(leaf, issuing, policy, cross, old)},
		"two generations of two CAs": {
			old, chainOf(leaf, issuing, again, policy, policyAgain, cross),
		},
		"twice the same": {root, chainOf(leaf, issuing, policy, root, issuing, policy, root)},
		"three CAs with large keys": {
			large, chainOf(largeLeaf, largeIssuing, largePolicy, large),
		},
	} {
		settings := tlsSettings{roots: x509.NewCertPool()}
		settings.roots.AddCert(tt.root.Certificate)
		for range 2 {
			if err := settings.verifyBounded("registry.example", tt.sent); err != nil {
				t.Errorf("%s: %v, want no error", name, err)
			}
			host := x509.HostnameError{}
			for _, other := range []string{"other.example", "192.0.2.1", ""} {
				if err := settings.verifyBounded(other, tt.sent); !errors.As(err, &host) {
					t.Errorf("%s: for the host %q: %v, want a HostnameError", name, other, err)
				}
			}
			slices.Reverse(tt.sent[1:])
		}
		unknown := x509.UnknownAuthorityError{}
		err := tlsSettings{roots: x509.NewCertPool()}.verifyBounded("registry.example", tt.sent)
		if !errors.As(err, &unknown) || !errors.As(err, new(*tls.CertificateVerificationError)) {
			t.Errorf("%s: without the root: %v, want an UnknownAuthorityError", name, err)
		}
	}
}

const needsChecks = "its TLS certificates need more than 12 checks of signatures, where an RSA key " +
	"of more than 4096 bits or a large exponent, or a key on P-521, counts as 4"

// TestCertificatesToCheck checks that a chain whose verification takes long is refused before.
func TestCertificatesToCheck(t *testing.T) {
	small := newKey(t, elliptic.P256())
	modulus := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.SetBit(n, 0, 1)
	}
	// ofKey returns a leaf and CAs which all have this key. No signature by it is right.
	ofKey := func(cas int, public any) []*x509.Certificate {
		next := issue(t, "root", small, nil)
		var chain []*x509.Certificate
		for i := range cas {
			ca := certify(t, "ca "+string(rune('a'+i)), small, public, next)
			chain = append(chain, ca.Certificate)
			signer := *ca.Certificate
			signer.PublicKey = small.Public() // CreateCertificate compares it with the key
			next = &issued{&signer, small}
		}
		slices.Reverse(chain)
		return append(chainOf(issue(t, "leaf", small, next)), chain...)
	}
	const unknown = "its TLS certificate is signed by an unknown authority"
	for name, tt := range map[string]struct {
		sent []*x509.Certificate
		want string
	}{
		"10 certificates":          {layers(t, small, 9, 1), unknown},
		"11 certificates":          {layers(t, small, 10, 1), "it sends more than 10 TLS certificates"},
		"the attack, in small":     {layers(t, small, 3, 3), needsChecks},
		"12 checks":                {layers(t, small, 2, 3), unknown},
		"RSA of 4096 bits":         {ofKey(8, &rsa.PublicKey{N: modulus(4096), E: 65537}), unknown},
		"RSA of 8192 bits, 3 CAs":  {ofKey(3, &rsa.PublicKey{N: modulus(8192), E: 65537}), unknown},
		"RSA of 8192 bits, 4 CAs":  {ofKey(4, &rsa.PublicKey{N: modulus(8192), E: 65537}), needsChecks},
		"a large exponent, 4 CAs":  {ofKey(4, &rsa.PublicKey{N: modulus(2048), E: 1<<31 - 1}), needsChecks},
		"the largest curve, 4 CAs": {ofKey(4, newKey(t, elliptic.P521()).Public()), needsChecks},
	} {
		err := tlsSettings{roots: x509.NewCertPool()}.verifyBounded("registry.example", tt.sent)
		if err == nil {
			t.Errorf("%s: no error, want %q", name, tt.want)
		} else if got := Explain(err).Reason; got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
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
	key := newKey(t, elliptic.P256())
	trusted := issue(t, "leaf", key, nil) // for registry.example
	roots.AddCert(trusted.Certificate)
	const otherHost = "its TLS certificate is for another host"
	for name, tt := range map[string]struct {
		server          *httptest.Server
		byName, byPlace string
	}{
		"another host": {serve(t, key, chainOf(trusted)), otherHost, otherHost},
		"the attack":   {serve(t, key, layers(t, key, 3, 3)), needsChecks, needsChecks},
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

// BenchmarkCertificates measures the verification of an attack's chain with and without bounds, the
// worst one within the bounds, and an ordinary one.
func BenchmarkCertificates(b *testing.B) {
	large, small := newKey(b, elliptic.P521()), newKey(b, elliptic.P384())
	attack, most := layers(b, large, 5, 5), layers(b, small, 2, 3)
	ordinary := layers(b, small, 3, 1)
	settings := tlsSettings{roots: x509.NewCertPool()}
	b.Run("attack, unbounded", func(b *testing.B) {
		for b.Loop() {
			_, _ = settings.verify("registry.example", attack)
		}
	})
	for name, chain := range map[string][]*x509.Certificate{
		"attack": attack, "worst": most, "ordinary": ordinary,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = settings.verifyBounded("registry.example", chain)
			}
		})
	}
}
