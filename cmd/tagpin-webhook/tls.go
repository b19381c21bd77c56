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

// tls returns the TLS settings of the webhook's port. API servers speak HTTP/1.1 to webhooks, since
// HTTP/2 would keep all requests on one replica (k8s.io/apiserver/pkg/util/webhook).
func (s *server) tls(own *certificates) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: own.get,
	}
	if s.options.clientCA == "" {
		return config, nil
	}
	authorities := &reload.Files[*x509.CertPool]{
		Paths:    []string{s.options.clientCA},
		Parse:    parsePool,
		Interval: 5 * time.Second,
		Report: func(err error) {
			s.log.Error(err, "client CA refused; the former one stays in force")
		},
	}
	if _, err := authorities.Look(); err != nil {
		return nil, fmt.Errorf("%w: --client-ca: %w", errSettings, err)
	}
	requireCertificate(config, authorities)
	return config, nil
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
