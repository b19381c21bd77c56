// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/reload"
)

// webhookTLS returns the TLS settings of the webhook's port. API servers speak HTTP/1.1 to
// webhooks, since HTTP/2 would keep all requests on one replica
// (k8s.io/apiserver/pkg/util/webhook).
//
// With --client-ca, callers must present a certificate that is verified by the CAs that the file
// has when they connect, so that CAs can be rotated without a restart.
func (s *server) webhookTLS(source *certificate.Source) (*tls.Config, error) {
	config := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"http/1.1"},
		GetCertificate: source.Get,
	}
	if s.options.clientCA == "" {
		return config, nil
	}
	cas := &reload.Files[*x509.CertPool]{
		Paths:    []string{s.options.clientCA},
		Parse:    parsePool,
		Interval: 5 * time.Second,
		Report: func(err error) {
			s.log.Error(err, "client CA refused; the former one stays in use")
		},
	}
	pool, err := cas.Look()
	if err != nil {
		return nil, fmt.Errorf("%w: --client-ca: %w", errSettings, err)
	}
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, pool
	base := config.Clone()
	config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		current := base.Clone()
		current.ClientCAs = cas.Current()
		return current, nil
	}
	return config, nil
}

func parsePool(contents [][]byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(contents[0]) {
		return nil, errors.New("the file has no PEM certificate")
	}
	return pool, nil
}
