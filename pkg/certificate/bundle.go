// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"slices"
	"time"
)

// Bundle is what a registration should hold as its caBundle, where it holds current: all CAs of the secret, and, while leaves
// that others have signed may still be served, what is there and has not ended: also until the secret's CA is settled, which may
// be one of before, restored from a backup. current itself is returned where that is the same.
func (m *Material) Bundle(current []byte, settled bool) []byte {
	there, clean := parseCertificates(current)
	want := slices.Clone(m.CAs)
	if !settled || m.overlaps(m.now) {
		for _, c := range there {
			if alive(c, m.now) && !slices.ContainsFunc(want, c.Equal) {
				want = append(want, c)
			}
		}
	}
	want = bound(want, func(c *x509.Certificate) bool { return slices.ContainsFunc(m.CAs, c.Equal) })
	if clean && len(there) == len(want) && !slices.ContainsFunc(want, func(c *x509.Certificate) bool { return !slices.ContainsFunc(there, c.Equal) }) {
		return current
	}
	return encodeCertificates(want...)
}

// With returns a bundle with one more CA, or the bundle itself if the CA is there already.
func With(bundle []byte, ca *x509.Certificate) []byte {
	if there, _ := parseCertificates(bundle); slices.ContainsFunc(there, ca.Equal) {
		return bundle
	}
	return append(slices.Clip(bundle), encodeCertificates(ca)...)
}

// Verify returns why a client that trusts bundle would refuse leaf for a DNS name at the time now.
// An empty bundle stands for the system's CAs, as it does for the API server.
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

// verify is Verify for the CAs of the secret.
func verify(leaf *x509.Certificate, cas []*x509.Certificate, dnsName string, now time.Time) error {
	if len(cas) == 0 {
		return errors.New("no CA")
	}
	roots := x509.NewCertPool()
	for _, ca := range cas {
		roots.AddCert(ca)
	}
	_, err := leaf.Verify(x509.VerifyOptions{DNSName: dnsName, Roots: roots, CurrentTime: now})
	return err
}

// settleTime is how long a CA has to stand in the registration until all API servers are taken to trust it. They see a change
// through a watch, in milliseconds when all is well; more, where etcd or one of several is slow.
const settleTime = 10 * time.Second

// youth is the age of a CA below which it may not have settled, for who has not seen it come.
const youth = time.Minute

// Aged reports whether a CA is no longer new at the time now.
func Aged(ca *x509.Certificate, now time.Time) bool { return now.Sub(made(ca)) >= youth }

// Sightings are since when each certificate has stood in the registration without a gap, as far as this process saw. The
// zero value has seen nothing.
type Sightings struct {
	there map[[sha256.Size]byte]sighting // nil: it has not looked yet
}

type sighting struct {
	since time.Time
	first bool // the first look saw it: since when it has stood there nobody knows
}

// Note takes down what stands there now: in all bundles.
func (s *Sightings) Note(bundles ...[]byte) {
	there, now := map[[sha256.Size]byte]sighting{}, sighting{time.Now(), s.there == nil}
	for i, bundle := range bundles {
		certs, _ := parseCertificates(bundle)
		both := map[[sha256.Size]byte]sighting{}
		for _, c := range certs {
			sum := sha256.Sum256(c.Raw)
			if _, ok := there[sum]; !ok && i > 0 {
				continue // another bundle lacks it
			}
			both[sum] = now
			if before, ok := s.there[sum]; ok {
				both[sum] = before
			}
		}
		there = both
	}
	s.there = there
}

// Settled tells whether a CA has stood there for so long that whoever calls trusts it.
func (s *Sightings) Settled(ca *x509.Certificate) bool {
	seen, ok := s.there[sha256.Sum256(ca.Raw)]
	return ok && time.Since(seen.since) >= settleTime
}

// Known is Settled, and also holds for a CA that stood there when this process first looked, and is no longer new: who has just
// started need not wait. One that was seen to come has to settle, however old it is, as of a secret restored from a backup.
func (s *Sightings) Known(ca *x509.Certificate, now time.Time) bool {
	return s.Settled(ca) || s.there[sha256.Sum256(ca.Raw)].first && Aged(ca, now)
}
