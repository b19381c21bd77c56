// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/util/cert"
)

// newCertificate creates a certificate for 127.0.0.1 and writes it to tls.crt and tls.key in dir.
func newCertificate(dir string) (tls.Certificate, *x509.CertPool, error) {
	localhost := net.IPv4(127, 0, 0, 1)
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{localhost}, nil)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	err = errors.Join(os.WriteFile(filepath.Join(dir, "tls.crt"), certPEM, 0o600),
		os.WriteFile(filepath.Join(dir, "tls.key"), keyPEM, 0o600))
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	return pair, pool, err
}
