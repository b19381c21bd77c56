// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

// Bundle returns the caBundle that a registration should have if it has current now. It returns
// current itself if that has the right certificates.
//
// The bundle has all CAs of the secret. It also keeps the valid certificates of current while a
// replica may still serve a leaf that another CA signed. That is the case for a day after the leaf
// was made, and as long as settled is false, which means that the API servers may not trust the
// secret's first CA yet. Even an old CA may not be trusted, if the secret was restored from a
// backup. While settled is false, the bundle also has the CAs in served, whose leaves are served.
func (m *Material) Bundle(current []byte, settled bool, served ...*x509.Certificate) []byte {
	present, clean := parseCertificates(current)
	former := present
	if !settled {
		former = slices.Concat(present, served)
	}
	want := slices.Clone(m.CAs)
	if !settled || m.overlaps(m.now) {
		for _, c := range former {
			if validity(c, m.now) == nil && !slices.ContainsFunc(want, c.Equal) {
				want = append(want, c)
			}
		}
	}
	want = limit(want, func(c *x509.Certificate) bool {
		return slices.ContainsFunc(m.CAs, c.Equal)
	})
	missing := func(c *x509.Certificate) bool { return !slices.ContainsFunc(present, c.Equal) }
	if clean && len(present) == len(want) && !slices.ContainsFunc(want, missing) {
		return current
	}
	return encodeCertificates(want...)
}

// Verify returns an error if a client that trusts the CAs of bundle would refuse leaf for a DNS
// name at the time now. If bundle is empty, the client trusts the system's CAs, as the API server
// does.
func Verify(leaf *tls.Certificate, bundle []byte, dnsName string, now time.Time) error {
	options := x509.VerifyOptions{
		DNSName: dnsName, CurrentTime: now, Intermediates: x509.NewCertPool(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(bytes.TrimSpace(bundle)) > 0 {
		options.Roots = x509.NewCertPool()
		options.Roots.AppendCertsFromPEM(bundle)
	}
	for _, der := range leaf.Certificate[1:] {
		if c, err := x509.ParseCertificate(der); err == nil {
			options.Intermediates.AddCert(c)
		}
	}
	_, err := leaf.Leaf.Verify(options)
	return err
}
