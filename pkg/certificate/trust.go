// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"time"
)

// Bundle returns the caBundle that a registration should have if it has current now. That is equal
// to current if Bundle has made it, until something changes.
//
// The bundle has all CAs of the secret. It keeps other valid CAs of current as long as a replica
// may serve a leaf of theirs: until the secret's first CA has signed the leaf and is settled, which
// means that all API servers trust it, and for a day after the leaf was made. Until it is settled,
// the bundle also has the CAs in served.
func (m *Material) Bundle(current []byte, settled bool, served ...*x509.Certificate) []byte {
	former := parseCertificates(current)
	if !settled {
		former = append(former, served...)
	}
	want := slices.Clone(m.CAs)
	if !settled || m.overlaps() {
		for _, c := range former {
			if validity(c, m.now) == nil && !slices.ContainsFunc(want, c.Equal) {
				want = append(want, c)
			}
		}
	}
	return encodeCertificates(limit(want, m.CAs...)...)
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

// settleTime is how long a CA must be in the registration until all API servers are assumed to
// trust it. An API server sees a change of the registration through a watch. That takes
// milliseconds, or longer if etcd or one of several API servers is slow.
const settleTime = 10 * time.Second

// minAge is the age below which a CA may be too new to be trusted, if this process doesn't know
// when the CA was added to the registration.
const minAge = time.Minute

// Aged reports whether a CA is no longer new at the time now.
func Aged(ca *x509.Certificate, now time.Time) bool { return now.Sub(created(ca)) >= minAge }

// Sightings records for how long each certificate has been in the registration without a gap, as
// far as this process has seen. The zero value is an empty record.
type Sightings struct {
	seen map[string]sighting // by the certificate's bytes; nil before the first call of Note
}

type sighting struct {
	since time.Time
	first bool // by the first call of Note, so that the certificate may be older than since
}

// Note records the certificates that are in the registration now. A certificate counts if it is in
// every one of its bundles.
func (s *Sightings) Note(bundles ...[]byte) {
	seen, now := map[string]sighting{}, sighting{time.Now(), s.seen == nil}
	for i, bundle := range bundles {
		common := map[string]sighting{}
		for _, c := range parseCertificates(bundle) {
			key := string(c.Raw)
			if _, ok := seen[key]; !ok && i > 0 {
				continue // another bundle lacks the certificate
			}
			common[key] = now
			if before, ok := s.seen[key]; ok {
				common[key] = before
			}
		}
		seen = common
	}
	s.seen = seen
}

// Settled reports whether a CA has been in the registration for so long that all API servers trust
// it.
func (s *Sightings) Settled(ca *x509.Certificate) bool {
	seen, ok := s.seen[string(ca.Raw)]
	return ok && time.Since(seen.since) >= settleTime
}

// Known reports whether a CA is settled, or was there at the first call of Note and is no longer
// new. A process that has just started therefore doesn't wait. A CA that was added later must
// settle, even if it is old, because the secret may have been restored from a backup.
func (s *Sightings) Known(ca *x509.Certificate, now time.Time) bool {
	return s.Settled(ca) || s.seen[string(ca.Raw)].first && Aged(ca, now)
}
