// SPDX-License-Identifier: Apache-2.0

// Package pki makes a private CA and certificates for servers and clients.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// life is longer than any environment runs.
const life = 30 * 24 * time.Hour

// CA is a private certificate authority.
type CA struct {
	PEM  []byte // its certificate
	cert *x509.Certificate
	key  crypto.Signer
}

// Leaf is a certificate with its key.
type Leaf struct{ CertPEM, KeyPEM []byte }

// New makes an authority.
func New() (*CA, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "tagpin e2e"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	cert, key, err := sign(template, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w", err)
	}
	return &CA{PEM: encode("CERTIFICATE", cert.Raw), cert: cert, key: key}, nil
}

// Issue makes a certificate for localhost and 127.0.0.1.
func (ca *CA) Issue() (*Leaf, error) {
	return ca.IssueFor("localhost", "127.0.0.1")
}

// IssueExpired is like Issue, but the certificate expired an hour ago.
func (ca *CA) IssueExpired() (*Leaf, error) {
	return ca.issue(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "localhost"},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour),
	})
}

// IssueFor makes a certificate for the given DNS names and IP addresses only.
func (ca *CA) IssueFor(names ...string) (*Leaf, error) {
	template := &x509.Certificate{Subject: pkix.Name{CommonName: names[0]}}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
			continue
		}
		template.DNSNames = append(template.DNSNames, name)
	}
	return ca.issue(template)
}

// IssueClient makes a certificate for a client.
func (ca *CA) IssueClient(name string) (*Leaf, error) {
	return ca.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue signs a certificate. It is for a server unless the template says otherwise.
func (ca *CA) issue(template *x509.Certificate) (*Leaf, error) {
	template.KeyUsage = x509.KeyUsageDigitalSignature
	if template.ExtKeyUsage == nil {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	cert, key, err := sign(template, ca.cert, ca.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Leaf{CertPEM: encode("CERTIFICATE", cert.Raw), KeyPEM: encode("PRIVATE KEY", der)}, nil
}

// Pool returns a pool that trusts only this authority.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	return pool
}

// ServerConfig returns the config of a server that serves the certificate.
func (l *Leaf) ServerConfig() (*tls.Config, error) {
	pair, err := tls.X509KeyPair(l.CertPEM, l.KeyPEM)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// sign makes a key and a certificate for it. Unless the template says otherwise, the certificate is
// valid from now on. If parent is nil, the certificate is self-signed.
func sign(template, parent *x509.Certificate, parentKey crypto.Signer) (
	*x509.Certificate, crypto.Signer, error,
) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	limit := new(big.Int).Lsh(big.NewInt(1), 120)
	if template.SerialNumber, err = rand.Int(rand.Reader, limit); err != nil {
		return nil, nil, err
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(life)
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return cert, key, err
}

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Reissue returns a certificate with other dates than the given one, for the same key and names,
// signed by the CA with the given certificate and key. All are in PEM, and of several certificates
// the first one counts.
func Reissue(cert, ca, caKey []byte, notBefore, notAfter time.Time) ([]byte, error) {
	var parsed []*x509.Certificate
	for _, data := range [][]byte{cert, ca} {
		block, _ := pem.Decode(data)
		if block == nil {
			return nil, errors.New("no PEM")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, c)
	}
	signer, err := tls.X509KeyPair(ca, caKey)
	if err != nil {
		return nil, err
	}
	template := *parsed[0]
	template.NotBefore, template.NotAfter = notBefore, notAfter
	template.SerialNumber = new(big.Int).Add(template.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(
		rand.Reader, &template, parsed[1], parsed[0].PublicKey, signer.PrivateKey)
	if err != nil {
		return nil, err
	}
	return encode("CERTIFICATE", der), nil
}
