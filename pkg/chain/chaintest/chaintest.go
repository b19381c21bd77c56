// SPDX-License-Identifier: Apache-2.0

// Package chaintest issues certificates for tests, also those whose verification would take long.
package chaintest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// Issued is a certificate with its key.
type Issued struct {
	*x509.Certificate
	Key crypto.Signer
}

// NewKey returns a new key.
func NewKey(tb testing.TB, curve elliptic.Curve) crypto.Signer {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Issue returns a new certificate of a CA, or of the host registry.example. If issuer is nil, it is
// its own issuer.
func Issue(tb testing.TB, name string, key crypto.Signer, issuer *Issued) *Issued {
	tb.Helper()
	return Certify(tb, name, key, key.Public(), issuer)
}

// Certify is Issue for any public key. key may then be nil.
func Certify(
	tb testing.TB, name string, key crypto.Signer, public any, issuer *Issued,
) *Issued {
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
		parent, signer = issuer.Certificate, issuer.Key
	}
	return create(tb, template, parent, public, key, signer)
}

// create returns a certificate for a public key, which belongs to key. signer is the key of parent.
func create(
	tb testing.TB, template, parent *x509.Certificate, public any, key, signer crypto.Signer,
) *Issued {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, signer)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &Issued{c, key}
}

// Renew returns another certificate of a CA with its name and key.
func Renew(tb testing.TB, ca, issuer *Issued) *Issued {
	tb.Helper()
	template := *ca.Certificate
	template.SerialNumber = new(big.Int).Add(ca.SerialNumber, big.NewInt(1))
	template.NotAfter = ca.NotAfter.Add(time.Hour)
	if issuer == nil {
		issuer = ca
	}
	return create(tb, &template, issuer.Certificate, ca.Key.Public(), ca.Key, issuer.Key)
}

// Of returns the certificates without their keys.
func Of(certificates ...*Issued) []*x509.Certificate {
	var chain []*x509.Certificate
	for _, c := range certificates {
		chain = append(chain, c.Certificate)
	}
	return chain
}

// Layers returns a leaf and certificates of CAs in layers, which all have the same key. Each
// certificate fits each of the layer before it.
func Layers(tb testing.TB, key crypto.Signer, names, inLayer int) []*x509.Certificate {
	tb.Helper()
	name := func(i int) string { return "layer " + string(rune('a'+i)) }
	issuer := Issue(tb, name(0), key, nil)
	chain := Of(Issue(tb, "leaf", key, issuer))
	for i := range names {
		next := Issue(tb, name(i+1), key, nil)
		for range inLayer {
			chain = append(chain, Issue(tb, name(i), key, next).Certificate)
		}
	}
	return chain
}
