// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/reload"
)

// errNone is for who calls before there is a certificate. Why there is none is in the log.
var errNone = errors.New("no certificate yet")

// A certificate that has ended, or that has not begun yet, is trusted by nobody.
var (
	errEnded    = errors.New("the certificate has ended")
	errNotBegun = errors.New("the certificate is not valid yet: " +
		"check the clock of the machine that issued it")
)

// certificates is where the serving certificate comes from: the files of --cert-dir, or a secret that the server keeps
// itself. The latter is served from memory: its key is written to no file.
type certificates struct {
	dnsName string // of the Service
	files   reload.Files[*tls.Certificate]
	secret  *certificate.Secret // nil: files
	now     func() time.Time    // nil: time.Now

	leaf atomic.Pointer[tls.Certificate]  // what is served; self-managed, from when it may be
	ca   atomic.Pointer[x509.Certificate] // of the secret, the newest
}

// certificates says where it comes from. Standalone there is no secret: then it is the files.
func (s *server) certificates(a api, namespace string) (*certificates, error) {
	c := s.config.Certificates
	made := &certificates{dnsName: c.Service + "." + namespace + ".svc", now: a.connection.now}
	if s.selfManaged() {
		made.secret = &certificate.Secret{
			Client: a.client.CoreV1().Secrets(namespace), Name: c.Secret,
			DNSName: made.dnsName, Now: made.now,
		}
		return made, nil
	}
	made.mount(s.options.certDir)
	if err := made.read(s.log); err != nil {
		return nil, err
	}
	return made, nil
}

// readInterval is how often the files are read. No watch tells of them: a node may be out of inotify instances.
const readInterval = 10 * time.Second

// poll reads the files again and again until ctx ends. What can't be used is told once, and the last good certificate stays.
func (c *certificates) poll(ctx context.Context, log logr.Logger) {
	ticker := time.NewTicker(readInterval)
	defer ticker.Stop()
	for said := ""; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		text := ""
		if err := c.read(log); err != nil {
			if text = err.Error(); text != said {
				log.Error(err, "certificate refused, the last good one stays")
			}
		}
		said = text
	}
}

// read takes up the certificate that is in the files, unless it is not valid now, and the one that is
// served is.
func (c *certificates) read(log logr.Logger) error {
	leaf, err := c.files.Look()
	if err != nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	now, former := c.time(), c.leaf.Load()
	if err := valid(leaf, now); err != nil && former != nil && valid(former, now) == nil {
		return fmt.Errorf("serving certificate: %w", err)
	}
	c.serve(leaf, log)
	return nil
}

// mount makes the files of a folder the ones that are read.
func (c *certificates) mount(dir string) {
	c.files.Paths = []string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	c.files.Parse = keyPair
}

// keyPair makes a certificate of the contents of tls.crt and tls.key.
func keyPair(contents [][]byte) (*tls.Certificate, error) {
	leaf, err := tls.X509KeyPair(contents[0], contents[1])
	return &leaf, err
}

// serve makes leaf what is served.
func (c *certificates) serve(leaf *tls.Certificate, log logr.Logger) {
	if former := c.leaf.Swap(leaf); former == nil || !former.Leaf.Equal(leaf.Leaf) {
		log.Info("serving certificate", "serial", leaf.Leaf.SerialNumber.Text(16), "ends", leaf.Leaf.NotAfter)
	}
}

// selfManaged tells whether the server makes its certificate.
func (s *server) selfManaged() bool {
	return !s.options.standalone && s.config.Certificates.Mode == config.SelfManaged
}

// get is the certificate of now, for a TLS listener.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if leaf := c.leaf.Load(); leaf != nil {
		return leaf, nil
	}
	return nil, errNone
}

// ready returns why there is no certificate that is valid now.
func (c *certificates) ready(*http.Request) error {
	leaf, err := c.get(nil)
	if err != nil {
		return err
	}
	return valid(leaf, c.time())
}

// valid returns why a certificate is not valid at the time now.
func valid(leaf *tls.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.Leaf.NotAfter):
		return errEnded
	case now.Before(leaf.Leaf.NotBefore):
		return errNotBegun
	}
	return nil
}

// time returns the time that certificates are judged by.
func (c *certificates) time() time.Time {
	if c.now == nil {
		return time.Now()
	}
	return c.now()
}

// expiry and lifetime are the metrics of certificates.
var (
	expiry = prometheus.NewDesc("tagpin_certificate_expiry_timestamp_seconds",
		"When a certificate ends, in Unix time, by kind: leaf, which is served; ca, which signs the next one, where that is self-managed.",
		[]string{"kind"}, nil)
	lifetime = prometheus.NewDesc("tagpin_certificate_lifetime_seconds",
		"How long a certificate holds, from its begin to its end, by kind (leaf, ca): what is made for a day is always about to expire.",
		[]string{"kind"}, nil)
)

// Describe implements prometheus.Collector.
func (c *certificates) Describe(out chan<- *prometheus.Desc) {
	out <- expiry
	out <- lifetime
}

// Collect implements prometheus.Collector.
func (c *certificates) Collect(out chan<- prometheus.Metric) {
	add := func(kind string, cert *x509.Certificate) {
		out <- prometheus.MustNewConstMetric(expiry, prometheus.GaugeValue, float64(cert.NotAfter.Unix()), kind)
		out <- prometheus.MustNewConstMetric(lifetime, prometheus.GaugeValue, cert.NotAfter.Sub(cert.NotBefore).Seconds(), kind)
	}
	if leaf, err := c.get(nil); err == nil {
		add("leaf", leaf.Leaf)
	}
	if ca := c.ca.Load(); ca != nil {
		add("ca", ca)
	}
}

// namespaceFile is where a pod finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// ownNamespace is the namespace that the server runs in, where it has to be known.
func (s *server) ownNamespace() (string, error) {
	text, _ := os.ReadFile(namespaceFile) // outside of a pod there is none
	namespace := cmp.Or(os.Getenv("POD_NAMESPACE"), strings.TrimSpace(string(text)))
	if namespace == "" && (s.selfManaged() || s.registrationName() != "") {
		return "", fmt.Errorf("%w: the namespace that this runs in is not known: set POD_NAMESPACE; "+
			"with certificates.mode mounted and no registration.name it is not needed", errSettings)
	}
	return namespace, nil
}

// registrationName is the registration that is to be filled in; empty: none.
func (s *server) registrationName() string {
	if s.options.standalone {
		return ""
	}
	return s.config.Registration.Name
}
