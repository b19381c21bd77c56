// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/pkg/reload"
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
	authorities := &reload.Files[*x509.CertPool]{
		Paths: []string{s.options.clientCA}, Parse: parsePool, Interval: 5 * time.Second,
		Report: func(err error) { s.log.Error(err, "client CA refused, the last good one stays") },
	}
	if _, err := authorities.Look(); err != nil {
		return nil, fmt.Errorf("%w: --client-ca: %w", errSettings, err)
	}
	return append(options, func(c *tls.Config) { requireCertificate(c, authorities) }), nil
}

// requireCertificate makes a listener ask its callers for a certificate, and check it against the
// authorities that their file holds when they connect: a CA can be rotated without a restart.
func requireCertificate(c *tls.Config, authorities *reload.Files[*x509.CertPool]) {
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.ClientCAs = authorities.Current()
	base := c.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := base.Clone()
		now.ClientCAs = authorities.Current()
		return now, nil
	}
}

func parsePool(contents [][]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(contents[0]) {
		return nil, errors.New("it holds no PEM certificate")
	}
	return pool, nil
}
