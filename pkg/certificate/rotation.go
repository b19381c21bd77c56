// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

// The keys of the secret's data. Those of the leaf are the keys of a secret of the type
// kubernetes.io/tls.
const (
	caField      = "ca.crt" // the certificates of all CAs, the newest first
	caKeyField   = "ca.key" // the private key of the newest CA
	leafField    = "tls.crt"
	leafKeyField = "tls.key"
)

// overlap is how long the former CAs stay trusted after a new CA has signed the leaf. Until then, a
// replica that can't read the secret may serve a former leaf.
const overlap = 24 * time.Hour

// maxCAs is the maximum number of CAs that are trusted at a time.
const maxCAs = 4

// Material is the content of the secret.
type Material struct {
	// CAs are the CAs that clients must trust. The first one signs leaves; the others are former CAs.
	CAs []*x509.Certificate
	// Leaf is the serving certificate. It was signed by one of the CAs, and is valid for the DNS name.
	Leaf *tls.Certificate

	signer crypto.Signer // the private key of the first CA
	now    time.Time     // when the secret was read
}

// Issuer returns the CA that signed the leaf, or nil.
func (m *Material) Issuer() *x509.Certificate {
	for _, ca := range m.CAs {
		if m.Leaf != nil && m.Leaf.Leaf.CheckSignatureFrom(ca) == nil {
			return ca
		}
	}
	return nil
}

// parse reads the secret's data. It ignores what can't be used, so that renew replaces it.
func parse(data map[string][]byte, dnsName string, now time.Time) *Material {
	m := &Material{now: now}
	for _, c := range parseCertificates(data[caField]) {
		if canSign(c, now) {
			m.CAs = append(m.CAs, c)
		}
	}
	ca, err := tls.X509KeyPair(data[caField], data[caKeyField]) // the first CA
	if err == nil && canSign(ca.Leaf, now) {
		m.signer, _ = ca.PrivateKey.(crypto.Signer)
	}
	leaf, err := tls.X509KeyPair(data[leafField], data[leafKeyField])
	if err == nil && len(m.CAs) > 0 &&
		Verify(&leaf, encodeCertificates(m.CAs...), dnsName, now) == nil {
		m.Leaf = &leaf
	}
	return m
}

// canSign reports whether c is a valid CA that may sign certificates.
func canSign(c *x509.Certificate, now time.Time) bool {
	return c.IsCA && c.KeyUsage&x509.KeyUsageCertSign != 0 && validity(c, now) == nil
}

// renew returns the material with new certificates for those that are missing or near their end. A
// new CA signs no leaf before it is settled, which means that all API servers trust it. Until then,
// the former CA's leaf stays, so that the leaf in the secret is trusted. If there is no valid leaf,
// the new CA signs one at once.
func (m *Material) renew(
	dnsName string, settled func(*x509.Certificate) bool,
) (*Material, error) {
	next := *m
	if next.signer == nil || m.now.Add(caRenewalTime).After(next.CAs[0].NotAfter) {
		ca, key, err := newAuthority(m.now)
		if err != nil {
			return nil, err
		}
		next.CAs, next.signer = append([]*x509.Certificate{ca}, m.CAs...), key
	}
	ca := next.CAs[0]
	current := next.Issuer() == ca
	if next.Leaf == nil || !current && settled(ca) ||
		current && m.now.Add(leafRenewalTime).After(next.Leaf.Leaf.NotAfter) {
		leaf, err := newLeaf(ca, next.signer, dnsName, m.now)
		if err != nil {
			return nil, err
		}
		next.Leaf = leaf
	}
	if !next.overlaps() {
		next.CAs = next.CAs[:1:1]
	}
	next.CAs = limit(next.CAs, next.Issuer())
	return &next, nil
}

// overlaps reports whether a replica may still serve a leaf of a former CA.
func (m *Material) overlaps() bool {
	return m.Leaf == nil || m.Issuer() != m.CAs[0] || m.now.Before(created(m.Leaf.Leaf).Add(overlap))
}

// created returns the time when a certificate was created.
func created(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate) }

// limit returns at most maxCAs of the CAs, the newest ones. It keeps the first one, and those in
// keep.
func limit(cas []*x509.Certificate, keep ...*x509.Certificate) []*x509.Certificate {
	kept := slices.Clone(cas)
	for i := len(kept) - 1; i > 0 && len(kept) > maxCAs; i-- {
		if !slices.Contains(keep, kept[i]) {
			kept = slices.Delete(kept, i, i+1)
		}
	}
	return kept
}

// store writes the material to the secret's data.
func (m *Material) store(data map[string][]byte) error {
	signer, err := encodeKey(m.signer)
	if err != nil {
		return err
	}
	key, err := encodeKey(m.Leaf.PrivateKey)
	if err != nil {
		return err
	}
	data[caField], data[caKeyField] = encodeCertificates(m.CAs...), signer
	data[leafField], data[leafKeyField] = encodeCertificates(m.Leaf.Leaf), key
	return nil
}
