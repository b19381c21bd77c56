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
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Lifetimes. A CA that is renewed once in years would be renewed by nobody who remembers how, so that it has to go by
// itself; a leaf is renewed often enough to show that it does.
const (
	caLife   = 10 * 365 * 24 * time.Hour
	caSpare  = 365 * 24 * time.Hour // with less left it is renewed
	leafLife = 90 * 24 * time.Hour
	// leafSpare is long enough for a weekend, a holiday, and an alert that is looked at late.
	leafSpare = 30 * 24 * time.Hour
	// backdate is how far clocks may differ: a certificate of the future is refused.
	backdate = time.Hour
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY" // PKCS #8
)

// newAuthority makes a CA. Its name is its own, so that no two of one bundle are taken for each other.
func newAuthority(now time.Time) (*x509.Certificate, crypto.Signer, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	return sign(&x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: fmt.Sprintf("tagpin-webhook CA %x", serial.Bytes()[:4])},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		MaxPathLenZero:        true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}, nil, nil)
}

// newLeaf makes a server's certificate for a DNS name, which ends no later than its CA.
func newLeaf(ca *x509.Certificate, caKey crypto.Signer, dnsName string, now time.Time) (*tls.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	end := now.Add(leafLife)
	if ca.NotAfter.Before(end) {
		end = ca.NotAfter
	}
	leaf, key, err := sign(&x509.Certificate{
		SerialNumber:          serial,
		DNSNames:              []string{dnsName}, // a common name would be bounded to 64 characters
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

// sign makes a key and its certificate; without a parent it signs itself.
func sign(template, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer, error) {
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

// newSerial is of 16 bytes, the first of which is not 0 (RFC 5280, section 4.1.2.2: positive, at most 20).
func newSerial() (*big.Int, error) {
	random := make([]byte, 16)
	_, err := rand.Read(random)
	random[0] = random[0]&0x7f | 0x40
	return new(big.Int).SetBytes(random), err
}

func encodeCertificates(certs ...*x509.Certificate) []byte {
	var all []byte
	for _, c := range certs {
		all = append(all, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw})...)
	}
	return all
}

func encodeKey(key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// parseCertificates returns all certificates that can be read, and whether there was nothing else.
func parseCertificates(data []byte) (certs []*x509.Certificate, clean bool) {
	clean = true
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return certs, clean
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil || block.Type != certificateBlock {
			clean = false
			continue
		}
		certs = append(certs, c)
	}
}

// parseKey reads a private key that can sign.
func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T can't sign", key)
	}
	return signer, nil
}
