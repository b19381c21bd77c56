// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// These bound the certificates of a server, which a connection holds as long as it lives. Most
// chains have less than 8 KiB. In memory a name of two bytes takes 150, and other parts of a
// certificate up to 13 times their bytes. A CA has seen what is in a verified chain, but nobody
// what is in the certificates that a server sends beside it. Without verification there is no such
// chain. Then maxChain and maxNames alone count.
const (
	maxChain   = 32 << 10 // bytes
	maxNames   = 1000
	maxSurplus = 8 << 10 // bytes of certificates that belong to no verified chain
)

// A verification goes on after the request and the connection have ended, so its work is bounded
// before it begins. Go checks up to 100 signatures, each by a key that the server may have chosen.
// Registries send up to 5 certificates, which need 4 checks, or 10 while two of their CAs have an
// old and a new certificate. A check takes less than 0.7 ms, and up to 2.5 ms with a large key.
// Chains of private CAs have up to 3 such keys.
const (
	maxCertificates    = 10
	maxSignatureChecks = 12
	largeKeyCost       = 4    // that a check with a large key counts for
	smallRSA           = 4096 // bits
	smallExponent      = 1<<16 + 1
	smallCurve         = 384 // bits
)

// certificatesError says which bound the certificates of a server exceed.
type certificatesError string

func (e certificatesError) Error() string { return string(e) }

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
			return s.verifyBounded(cs.ServerName, cs.PeerCertificates)
		},
	}
}

// verifyBounded verifies a server's certificates, unless they need too much memory or work. Then it
// returns a certificatesError.
func (s tlsSettings) verifyBounded(host string, certificates []*x509.Certificate) error {
	if err := boundSize(certificates); err != nil || s.unverified {
		return err
	}
	if len(certificates) > maxCertificates {
		return certificatesError(fmt.Sprintf("it sends more than %d TLS certificates", maxCertificates))
	}
	if signatureChecks(certificates[:1], certificates[1:]) > maxSignatureChecks {
		return certificatesError(fmt.Sprintf("its TLS certificates need more than %d checks of "+
			"signatures, where an RSA key of more than %d bits or a large exponent, or a key on P-521, "+
			"counts as %d",
			maxSignatureChecks, smallRSA, largeKeyCost))
	}
	chains, err := s.verify(host, certificates)
	if err != nil {
		return err
	}
	return boundSurplus(certificates, chains)
}

// verify verifies a server's certificates as crypto/tls does.
func (s tlsSettings) verify(
	host string, certificates []*x509.Certificate,
) (chains [][]*x509.Certificate, err error) {
	if host == "" { // x509 would accept a certificate of any host
		return nil, x509.HostnameError{Certificate: certificates[0]}
	}
	options := x509.VerifyOptions{
		Roots: s.roots, DNSName: host, Intermediates: x509.NewCertPool(),
	}
	for _, c := range certificates[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err = certificates[0].Verify(options)
	if err != nil {
		return nil, &tls.CertificateVerificationError{UnverifiedCertificates: certificates, Err: err}
	}
	return chains, nil
}

// boundSize bounds the memory that certificates need.
func boundSize(certificates []*x509.Certificate) error {
	size, names := 0, 0
	for _, c := range certificates {
		size += len(c.Raw)
		names += len(c.DNSNames) + len(c.URIs) + len(c.IPAddresses) + len(c.EmailAddresses)
	}
	switch {
	case size > maxChain:
		return certificatesError(fmt.Sprintf("its TLS certificates have more than %d KiB", maxChain>>10))
	case names > maxNames:
		return certificatesError(fmt.Sprintf("its TLS certificates have more than %d names", maxNames))
	}
	return nil
}

// boundSurplus bounds the certificates that belong to no verified chain.
func boundSurplus(certificates []*x509.Certificate, chains [][]*x509.Certificate) error {
	surplus := 0
	for _, c := range certificates {
		inChain := func(chain []*x509.Certificate) bool { return slices.ContainsFunc(chain, c.Equal) }
		if !slices.ContainsFunc(chains, inChain) {
			surplus += len(c.Raw)
		}
	}
	if surplus > maxSurplus {
		return certificatesError(fmt.Sprintf("its TLS certificates have more than %d KiB that belong to "+
			"no verified chain", maxSurplus>>10))
	}
	return nil
}

// signatureChecks returns how many signatures x509 checks at most, by the keys of the certificates
// that a server sends, in search of chains that go on from a path. Like x509, it takes each
// certificate with the name of the issuer for a possible issuer, but not those on the path. It
// stops above maxSignatureChecks. For each of the checks, x509 may make another one by the key of a
// root.
func signatureChecks(path, sent []*x509.Certificate) int {
	sum := 0
	last := path[len(path)-1]
	for i, c := range sent {
		if !bytes.Equal(c.RawSubject, last.RawIssuer) || slices.ContainsFunc(path, c.Equal) ||
			slices.ContainsFunc(sent[:i], c.Equal) {
			continue
		}
		if sum += costOf(c.PublicKey); sum <= maxSignatureChecks {
			sum += signatureChecks(append(slices.Clip(path), c), sent)
		}
		if sum > maxSignatureChecks {
			break
		}
	}
	return sum
}

// costOf returns what a check of a signature by a key counts for.
func costOf(key any) int {
	large := false
	switch key := key.(type) {
	case *rsa.PublicKey:
		large = key.N.BitLen() > smallRSA || key.E > smallExponent
	case *ecdsa.PublicKey:
		large = key.Curve.Params().BitSize > smallCurve
	}
	if large {
		return largeKeyCost
	}
	return 1
}
