// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/reload"
)

// Errors of Source.Ready. Clients trust no certificate that has expired or is not valid yet.
var (
	ErrNone        = errors.New("no certificate yet") // the log has the reason
	errExpired     = errors.New("the certificate has expired")
	ErrNotValidYet = errors.New("the certificate is not valid yet: " +
		"check the clock of the machine that issued it")
)

// validity returns an error if a certificate is not valid at the time now.
func validity(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return errExpired
	case now.Before(c.NotBefore):
		return ErrNotValidYet
	}
	return nil
}

// Source is the certificate that the webhook's port serves. The key is only in memory, also if the
// certificate comes from a secret. A Source is safe for concurrent use.
type Source struct {
	// Now returns the time at which certificates are checked.
	Now func() time.Time

	log              logr.Logger
	leaf             atomic.Pointer[tls.Certificate]
	expiry, lifetime *prometheus.GaugeVec
}

// NewSource returns a source that has no certificate yet.
func NewSource(now func() time.Time, log logr.Logger, r prometheus.Registerer) *Source {
	s := &Source{
		Now: now,
		log: log,
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_certificate_expiry_timestamp_seconds",
			Help: "When a certificate expires, in Unix time, by kind: leaf (the one that is served) or " +
				"ca (which signs the next leaf, if the certificate is self-managed).",
		}, []string{"kind"}),
		lifetime: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tagpin_certificate_lifetime_seconds",
			Help: "The time from the beginning of a certificate to its end, by kind (leaf, ca). " +
				"A certificate with a lifetime of a day is always about to expire.",
		}, []string{"kind"}),
	}
	r.MustRegister(s.expiry, s.lifetime)
	return s
}

func (s *Source) measure(kind string, c *x509.Certificate) {
	s.expiry.WithLabelValues(kind).Set(float64(c.NotAfter.Unix()))
	s.lifetime.WithLabelValues(kind).Set(c.NotAfter.Sub(c.NotBefore).Seconds())
}

// Leaf returns the certificate that is served, or nil.
func (s *Source) Leaf() *tls.Certificate { return s.leaf.Load() }

// Get is the GetCertificate function of a TLS configuration.
func (s *Source) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if leaf := s.Leaf(); leaf != nil {
		return leaf, nil
	}
	return nil, ErrNone
}

// Ready returns an error if no valid certificate is served. It is a check of a readiness probe.
func (s *Source) Ready(*http.Request) error {
	if s.Leaf() == nil {
		return ErrNone
	}
	return validity(s.Leaf().Leaf, s.Now())
}

// Serve starts to serve a certificate.
func (s *Source) Serve(leaf *tls.Certificate) {
	if former := s.leaf.Swap(leaf); former == nil || !former.Leaf.Equal(leaf.Leaf) {
		s.measure("leaf", leaf.Leaf)
		s.log.Info("serving certificate",
			"serial", leaf.Leaf.SerialNumber.Text(16), "ends", leaf.Leaf.NotAfter)
	}
}

// ServeValid starts to serve a certificate, unless it is not valid now and the current one is.
func (s *Source) ServeValid(leaf *tls.Certificate) error {
	if err := validity(leaf.Leaf, s.Now()); err != nil && s.Ready(nil) == nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	s.Serve(leaf)
	return nil
}

// SetCA sets the CA that the metrics show.
func (s *Source) SetCA(ca *x509.Certificate) { s.measure("ca", ca) }

// Mounted returns the certificate in the files tls.crt and tls.key of a folder.
func Mounted(dir string) *reload.Files[*tls.Certificate] {
	paths := []string{filepath.Join(dir, leafField), filepath.Join(dir, leafKeyField)}
	return &reload.Files[*tls.Certificate]{
		Paths: paths,
		Parse: func(contents [][]byte) (*tls.Certificate, error) {
			leaf, err := tls.X509KeyPair(contents[0], contents[1]) // err quotes no key
			if err != nil {
				return nil, fmt.Errorf("%s with %s: %w", paths[0], paths[1], err)
			}
			return &leaf, nil
		},
	}
}
