// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/chain/chaintest"
)

// TestOrdinaryChains checks that chains that registries have are verified, in any order.
func TestOrdinaryChains(t *testing.T) {
	key := func() crypto.Signer { return chaintest.NewKey(t, elliptic.P256()) }
	largeKey := func() crypto.Signer { return chaintest.NewKey(t, elliptic.P521()) }
	issue := func(name string, key crypto.Signer, issuer *chaintest.Issued) *chaintest.Issued {
		return chaintest.Issue(t, name, key, issuer)
	}
	of := chaintest.Of
	root, old := issue("root", key(), nil), issue("old root", key(), nil)
	policy := issue("policy", key(), root)
	issuing := issue("issuing", key(), policy)
	again := issue("issuing", issuing.Key, policy) // as after a renewal
	cross, policyAgain := issue("root", root.Key, old), issue("policy", policy.Key, root)
	leaf := issue("leaf", key(), issuing)

	renewed := func(ca, issuer *chaintest.Issued) *chaintest.Issued {
		return chaintest.Renew(t, ca, issuer)
	}
	direct := issue("direct", key(), root)
	directLeaf := issue("leaf", key(), direct)
	second, third := renewed(root, nil), renewed(renewed(root, nil), nil)

	large := issue("large root", largeKey(), nil)
	largePolicy := issue("large policy", largeKey(), large)
	largeIssuing := issue("large issuing", largeKey(), largePolicy)
	largeLeaf := issue("leaf", largeKey(), largeIssuing)

	for name, tt := range map[string]struct {
		root *chaintest.Issued
		sent []*x509.Certificate
	}{
		"the leaf alone, which is trusted": {leaf, of(leaf)},
		"without the root":                 {root, of(leaf, issuing, policy)},
		"with the root":                    {root, of(leaf, issuing, policy, root)},
		"cross-signed, by the new root":    {root, of(leaf, issuing, policy, cross)},
		"cross-signed, by the old root":    {old, of(leaf, issuing, policy, cross, old)},
		"two generations of two CAs": {
			old, of(leaf, issuing, again, policy, policyAgain, cross),
		},
		"twice the same": {root, of(leaf, issuing, policy, root, issuing, policy, root)},
		"three generations of a root with one key": {
			root, of(directLeaf, direct, root, second, third),
		},
		"a renewed root that is also cross-signed": {
			old, of(directLeaf, direct, root, second, renewed(root, old), old),
		},
		"three CAs with large keys, of which one is cross-signed": {
			large, of(largeLeaf, largeIssuing, largePolicy, large, renewed(large, old)),
		},
		"three CAs with large keys": {
			large, of(largeLeaf, largeIssuing, largePolicy, large),
		},
	} {
		options := x509.VerifyOptions{Roots: x509.NewCertPool(), DNSName: "registry.example"}
		options.Roots.AddCert(tt.root.Certificate)
		for range 2 {
			if err := Verify(tt.sent, options); err != nil {
				t.Errorf("%s: %v, want no error", name, err)
			}
			other := options
			other.DNSName = "other.example"
			if err := Verify(tt.sent, other); !errors.As(err, new(x509.HostnameError)) {
				t.Errorf("%s: for another host: %v, want a HostnameError", name, err)
			}
			slices.Reverse(tt.sent[1:])
		}
		options.Roots = x509.NewCertPool()
		err := Verify(tt.sent, options)
		if !errors.As(err, new(x509.UnknownAuthorityError)) ||
			!errors.As(err, new(*tls.CertificateVerificationError)) {
			t.Errorf("%s: without the root: %v, want an UnknownAuthorityError", name, err)
		}
	}
}

const needsChecks = "its TLS certificates need more than 16 checks of signatures, where an RSA key " +
	"of more than 4096 bits or a large exponent, or a key on P-521, counts as 4"

// TestCertificatesToCheck checks that a chain whose verification takes long is refused before.
func TestCertificatesToCheck(t *testing.T) {
	small := chaintest.NewKey(t, elliptic.P256())
	layers := func(names, inLayer int) []*x509.Certificate {
		return chaintest.Layers(t, small, names, inLayer)
	}
	modulus := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return n.SetBit(n, 0, 1)
	}
	// ofKey returns a leaf and CAs which all have this key. No signature by it is right.
	ofKey := func(cas int, public any) []*x509.Certificate {
		next := chaintest.Issue(t, "root", small, nil)
		var chain []*x509.Certificate
		for i := range cas {
			ca := chaintest.Certify(t, "ca "+string(rune('a'+i)), small, public, next)
			chain = append(chain, ca.Certificate)
			signer := *ca.Certificate
			signer.PublicKey = small.Public() // CreateCertificate compares it with the key
			next = &chaintest.Issued{Certificate: &signer, Key: small}
		}
		slices.Reverse(chain)
		return append(chaintest.Of(chaintest.Issue(t, "leaf", small, next)), chain...)
	}
	const unknown = "tls: failed to verify certificate: x509: certificate signed by unknown authority"
	for name, tt := range map[string]struct {
		sent []*x509.Certificate
		want string
	}{
		"10 certificates":          {layers(9, 1), unknown},
		"11 certificates":          {layers(10, 1), "it sends more than 10 TLS certificates"},
		"the attack, in small":     {layers(3, 3), needsChecks},
		"12 checks":                {layers(2, 3), unknown},
		"RSA of 4096 bits":         {ofKey(8, &rsa.PublicKey{N: modulus(4096), E: 65537}), unknown},
		"RSA of 8192 bits, 4 CAs":  {ofKey(4, &rsa.PublicKey{N: modulus(8192), E: 65537}), unknown},
		"RSA of 8192 bits, 5 CAs":  {ofKey(5, &rsa.PublicKey{N: modulus(8192), E: 65537}), needsChecks},
		"a large exponent, 5 CAs":  {ofKey(5, &rsa.PublicKey{N: modulus(2048), E: 1<<31 - 1}), needsChecks},
		"the largest curve, 5 CAs": {ofKey(5, chaintest.NewKey(t, elliptic.P521()).Public()), needsChecks},
	} {
		err := Verify(tt.sent, x509.VerifyOptions{Roots: x509.NewCertPool()})
		if err == nil {
			t.Errorf("%s: no error, want %q", name, tt.want)
		} else if got := err.Error(); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		isBound := errors.As(err, new(BoundError))
		if isBound != (tt.want != unknown) {
			t.Errorf("%s: is %v a BoundError: %t", name, err, isBound)
		}
	}
	if err := Verify(nil, x509.VerifyOptions{}); err == nil {
		t.Error("without a certificate: no error")
	}
}

// BenchmarkCertificates measures the verification of an attack's chain with and without bounds, the
// worst one within the bounds, and an ordinary one.
func BenchmarkCertificates(b *testing.B) {
	large, small := chaintest.NewKey(b, elliptic.P521()), chaintest.NewKey(b, elliptic.P384())
	attack, most := chaintest.Layers(b, large, 5, 5), chaintest.Layers(b, small, 2, 3)
	ordinary := chaintest.Layers(b, small, 3, 1)
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool()}
	for _, c := range attack[1:] {
		options.Intermediates.AddCert(c)
	}
	b.Run("attack, unbounded", func(b *testing.B) {
		for b.Loop() {
			_, _ = attack[0].Verify(options)
		}
	})
	for name, chain := range map[string][]*x509.Certificate{
		"attack": attack, "worst": most, "ordinary": ordinary,
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = Verify(chain, options)
			}
		})
	}
}
