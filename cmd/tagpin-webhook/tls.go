// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"
	"time"
)

// tls makes the settings of the webhook's listener: its certificate, and the callers' that --client-ca asks for.
func (s *server) tls(own *certificates) ([]func(*tls.Config), error) {
	options := []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion = tls.VersionTLS12
		c.GetCertificate = own.get
	}}
	if s.options.clientCA == "" {
		return options, nil
	}
	authorities := &authorities{path: s.options.clientCA, report: func(err error) {
		s.log.Error(err, "client CA refused, the last good one stays")
	}}
	if err := authorities.load(); err != nil {
		return nil, fmt.Errorf("%w: --client-ca: %w", errSettings, err)
	}
	return append(options, authorities.require), nil
}

// lookInterval is how often the file of --client-ca is looked at, at most, when callers connect.
const lookInterval = 5 * time.Second

// authorities are the certificates that callers' certificates have to be signed by; read again when the file changes, so
// that a CA can be rotated without a restart.
type authorities struct {
	path   string
	report func(error)

	mu     sync.Mutex
	pool   *x509.CertPool
	data   []byte
	looked time.Time
}

// require makes the listener ask for a certificate, and check it against the pool of the moment.
func (a *authorities) require(c *tls.Config) {
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = a.current()
	base := c.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs = a.current()
		return now, nil
	}
}

func (a *authorities) current() *x509.CertPool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.looked) >= lookInterval {
		if err := a.loadLocked(); err != nil {
			a.report(err)
		}
	}
	return a.pool
}

func (a *authorities) load() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.loadLocked()
}

func (a *authorities) loadLocked() error {
	a.looked = time.Now()
	data, err := os.ReadFile(a.path)
	if err != nil || a.pool != nil && bytes.Equal(data, a.data) {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return fmt.Errorf("%s holds no PEM certificate", a.path)
	}
	a.pool, a.data = pool, data
	return nil
}
