// SPDX-License-Identifier: Apache-2.0

package certificate

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"time"
)

// Certificates are renewed when less than the renewal time is left of their lifetime. The CA is
// renewed once in years, when nobody remembers how, so it must renew without help. The leaf is
// renewed often enough to show that renewal works.
const (
	caLifetime    = 10 * 365 * 24 * time.Hour
	caRenewalTime = 365 * 24 * time.Hour
	leafLifetime  = 90 * 24 * time.Hour
	// leafRenewalTime is long enough for a weekend, a holiday and an alert that is seen late.
	leafRenewalTime = 30 * 24 * time.Hour
	// backdate is the time between the beginning of a certificate and its creation, because a client
	// whose clock is behind would refuse a certificate that begins in the future.
	backdate = time.Hour
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY" // PKCS #8
)

// newAuthority creates a CA. Its name is unique, so that clients can tell the CAs of a bundle
// apart.
func newAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	return sign(&x509.Certificate{
		Subject:               pkix.Name{CommonName: "tagpin-webhook CA " + rand.Text()[:8]},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLifetime),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, nil)
}

// newLeaf creates a server certificate for a DNS name. It ends no later than its CA.
func newLeaf(
	ca *x509.Certificate, caKey crypto.Signer, dnsName string, now time.Time,
) (*tls.Certificate, error) {
	end := now.Add(leafLifetime)
	if ca.NotAfter.Before(end) {
		end = ca.NotAfter
	}
	leaf, key, err := sign(&x509.Certificate{
		DNSNames:              []string{dnsName}, // a common name has at most 64 characters
		NotBefore:             now.Add(-backdate),
		NotAfter:              end,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// sign creates a key and its certificate. If parent is nil, the certificate is self-signed.
func sign(
	template, parent *x509.Certificate, parentKey crypto.Signer,
) (*x509.Certificate, crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
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

// encodeCertificates returns certificates as PEM.
func encodeCertificates(certs ...*x509.Certificate) []byte {
	var all []byte
	for _, c := range certs {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})...)
	}
	return all
}

// encodeKey returns a private key as PEM.
func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// parseCertificates returns the certificates in PEM data. Unlike ParseCertsPEM of
// k8s.io/client-go/util/cert, it goes on after an invalid one.
func parseCertificates(data []byte) (certs []*x509.Certificate) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return certs
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err == nil && block.Type == certificateBlock {
			certs = append(certs, c)
		}
	}
}
