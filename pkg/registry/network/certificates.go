// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/tagpin/tagpin/pkg/chain"
)

// tlsSettings say which servers are trusted, and who a client is.
type tlsSettings struct {
	roots      *x509.CertPool // if nil, the system's
	client     []tls.Certificate
	unverified bool // any certificate is accepted
}

// config returns the settings for connections to a host. It may be empty if crypto/tls will know
// the host's name. crypto/tls does not verify the certificates, because it would do so before they
// can be bounded.
func (s tlsSettings) config(host string) *tls.Config {
	return &tls.Config{
		ServerName: host, Certificates: s.client, NextProtos: []string{"http/1.1"},
		MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, //nolint:gosec // see VerifyConnection
		VerifyConnection: func(cs tls.ConnectionState) error {
			if host != "" {
				cs.ServerName = host // crypto/tls has it only if it is no address
			}
			return s.verify(cs.ServerName, cs.PeerCertificates)
		},
	}
}

// verify verifies a server's certificates as crypto/tls does, unless they need too much memory or
// work. Then it returns a chain.BoundError.
func (s tlsSettings) verify(host string, certificates []*x509.Certificate) error {
	switch {
	case s.unverified:
		return chain.BoundSize(certificates)
	case host == "": // x509 would accept a certificate of any host
		return x509.HostnameError{Certificate: certificates[0]}
	}
	return chain.Verify(certificates, x509.VerifyOptions{Roots: s.roots, DNSName: host})
}
