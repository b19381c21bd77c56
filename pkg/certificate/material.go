// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

// Keys of the secret. Those of the leaf are as in a secret of type kubernetes.io/tls.
const (
	caKey      = "ca.crt" // of all CAs, the newest first
	caKeyKey   = "ca.key" // of the newest
	leafKey    = "tls.crt"
	leafKeyKey = "tls.key"
)

// overlap is how long former CAs are trusted after the leaf has come from a new one: until then a replica may serve a former
// leaf, were it that it can't read the secret.
const overlap = 24 * time.Hour

// maxCAs bounds what is trusted at a time, whatever comes.
const maxCAs = 4

// Material is what the secret holds.
type Material struct {
	// CAs are to be trusted. The first one signs; the others are former ones.
	CAs []*x509.Certificate
	// Leaf is what is served. It is good until its end, by one of the CAs.
	Leaf *tls.Certificate

	signer crypto.Signer // the key of the first CA
	now    time.Time     // when the secret was read
}

// Issuer is the CA that the leaf is signed by.
func (m *Material) Issuer() *x509.Certificate {
	if m.Leaf == nil {
		return nil
	}
	i := slices.IndexFunc(m.CAs, func(ca *x509.Certificate) bool { return m.Leaf.Leaf.CheckSignatureFrom(ca) == nil })
	if i < 0 {
		return nil
	}
	return m.CAs[i]
}

// parse takes of the secret's data what can be used: what can't is made anew.
func parse(data map[string][]byte, dnsName string, now time.Time) *Material {
	m := &Material{now: now}
	certs, _ := parseCertificates(data[caKey])
	if key, err := parseKey(data[caKeyKey]); err == nil && len(certs) > 0 && matches(certs[0], key) && good(certs[0], now) {
		m.signer = key
	}
	for _, c := range certs {
		if good(c, now) {
			m.CAs = append(m.CAs, c)
		}
	}
	leaf, err := tls.X509KeyPair(data[leafKey], data[leafKeyKey])
	if err == nil && verify(leaf.Leaf, m.CAs, dnsName, now) == nil {
		m.Leaf = &leaf
	}
	return m
}

// matches tells whether key is that of a certificate.
func matches(c *x509.Certificate, key crypto.Signer) bool {
	public, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(key.Public())
}

// good tells whether c is a CA that may sign.
func good(c *x509.Certificate, now time.Time) bool {
	return c.IsCA && c.KeyUsage&x509.KeyUsageCertSign != 0 && alive(c, now)
}

// alive tells whether c has begun and not ended.
func alive(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// renew makes what is missing or near its end. A new CA signs no leaf before it is settled, which means that all who call
// trust it; until then the leaf of the former one stays, so that whoever reads the secret gets a leaf that is trusted. Only
// where there is no good leaf, one is made at once.
func (m *Material) renew(dnsName string, now time.Time, settled func(*x509.Certificate) bool) (*Material, error) {
	next := *m
	if next.signer == nil || now.Add(caSpare).After(next.CAs[0].NotAfter) {
		ca, key, err := newAuthority(now)
		if err != nil {
			return nil, err
		}
		next.CAs, next.signer = append([]*x509.Certificate{ca}, m.CAs...), key
	}
	ca := next.CAs[0]
	current := next.Issuer() == ca
	if next.Leaf == nil || current && now.Add(leafSpare).After(next.Leaf.Leaf.NotAfter) || !current && settled(ca) {
		leaf, err := newLeaf(ca, next.signer, dnsName, now)
		if err != nil {
			return nil, err
		}
		next.Leaf = leaf
	}
	next.drop(now)
	return &next, nil
}

// drop leaves former CAs out that nobody serves a leaf of any more.
func (m *Material) drop(now time.Time) {
	if !m.overlaps(now) {
		m.CAs = m.CAs[:1:1]
		return
	}
	issuer := m.Issuer()
	m.CAs = bound(m.CAs, func(ca *x509.Certificate) bool { return ca == issuer })
}

// overlaps tells whether a leaf of a former CA may still be served.
func (m *Material) overlaps(now time.Time) bool {
	return m.Leaf == nil || m.Issuer() != m.CAs[0] || now.Before(made(m.Leaf.Leaf).Add(overlap))
}

// made is when a certificate was made.
func made(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate) }

// bound cuts a list down to maxCAs, and keeps the first one and those that it has to.
func bound(cas []*x509.Certificate, keep func(*x509.Certificate) bool) []*x509.Certificate {
	kept := slices.Clone(cas)
	for i := len(kept) - 1; i > 0 && len(kept) > maxCAs; i-- {
		if !keep(kept[i]) {
			kept = slices.Delete(kept, i, i+1)
		}
	}
	return kept
}

// same tells whether nothing was renewed or dropped.
func (m *Material) same(other *Material) bool {
	return m.Leaf == other.Leaf && slices.Equal(m.CAs, other.CAs)
}

// store puts it into the secret's data.
func (m *Material) store(data map[string][]byte) error {
	signer, err := encodeKey(m.signer)
	if err != nil {
		return err
	}
	key, err := encodeKey(m.Leaf.PrivateKey)
	if err != nil {
		return err
	}
	data[caKey], data[caKeyKey] = encodeCertificates(m.CAs...), signer
	data[leafKey], data[leafKeyKey] = encodeCertificates(m.Leaf.Leaf), key
	return nil
}
