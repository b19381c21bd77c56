// SPDX-License-Identifier: Apache-2.0

// Package chain verifies the certificates that a peer sends in a TLS handshake. Since the peer may
// be anybody, it first bounds the memory and the work that they need. crypto/tls would verify them
// before they can be bounded, so its own verification has to be switched off:
//
//	config.ClientAuth = tls.RequireAnyClientCert
//	config.VerifyConnection = func(cs tls.ConnectionState) error {
//		return chain.Verify(cs.PeerCertificates, options)
//	}
//
// It does not look for certificates that the peer has left out, nor for revoked ones.
package chain

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
)

// These bound the memory of certificates, which a connection holds as long as it lives. Most chains
// have less than 8 KiB. In memory a name of two bytes takes 150, and other parts of a certificate
// up to 13 times their bytes. A CA has seen what is in a verified chain, but nobody what is in the
// certificates that a peer sends beside it. Without verification there is no such chain. Then
// maxSize and maxNames alone count.
const (
	maxSize    = 32 << 10 // bytes
	maxNames   = 1000
	maxSurplus = 8 << 10 // bytes of certificates that belong to no verified chain
)

// A verification goes on after the connection has ended, so its work is bounded before it begins.
// Go checks up to 100 signatures, each by a key that the peer may have chosen. Registries send up
// to 5 certificates, which need 4 checks, or 10 while two of their CAs have an old and a new
// certificate. Clients send up to 3. A check takes less than 0.7 ms, and up to 2.5 ms with a large
// key. Chains of private CAs have up to 4 certificates with such keys.
const (
	maxCertificates    = 10
	maxSignatureChecks = 16
	largeKeyCost       = 4    // that a check with a large key counts for
	smallRSA           = 4096 // bits
	smallExponent      = 1<<16 + 1
	smallCurve         = 384 // bits
)

// BoundError says which bound the certificates of a peer exceed. In its text, the peer is "it".
type BoundError string

// Error returns the text.
func (e BoundError) Error() string { return string(e) }

// Verify verifies the certificates that a peer has sent, of which the first is its own, unless they
// need too much memory or work. Then it returns a BoundError. Like crypto/tls, it uses the other
// certificates as intermediates, and returns a tls.CertificateVerificationError if the verification
// fails. In options, Intermediates is not used.
func Verify(certificates []*x509.Certificate, options x509.VerifyOptions) error {
	if err := BoundSize(certificates); err != nil {
		return err
	}
	switch {
	case len(certificates) == 0:
		return errors.New("no certificate was sent")
	case len(certificates) > maxCertificates:
		return BoundError(fmt.Sprintf("it sends more than %d TLS certificates", maxCertificates))
	case signatureChecks(certificates[:1], certificates[1:]) > maxSignatureChecks:
		return BoundError(fmt.Sprintf("its TLS certificates need more than %d checks of signatures, "+
			"where an RSA key of more than %d bits or a large exponent, or a key on P-521, counts as %d",
			maxSignatureChecks, smallRSA, largeKeyCost))
	}
	options.Intermediates = x509.NewCertPool()
	for _, c := range certificates[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := certificates[0].Verify(options)
	if err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: certificates, Err: err}
	}
	return boundSurplus(certificates, chains)
}

// BoundSize returns a BoundError if certificates need too much memory. It is for callers that
// accept any certificate. Verify calls it itself.
func BoundSize(certificates []*x509.Certificate) error {
	size, names := 0, 0
	for _, c := range certificates {
		size += len(c.Raw)
		names += len(c.DNSNames) + len(c.URIs) + len(c.IPAddresses) + len(c.EmailAddresses)
	}
	switch {
	case size > maxSize:
		return BoundError(fmt.Sprintf("its TLS certificates have more than %d KiB", maxSize>>10))
	case names > maxNames:
		return BoundError(fmt.Sprintf("its TLS certificates have more than %d names", maxNames))
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
		return BoundError(fmt.Sprintf("its TLS certificates have more than %d KiB that belong to "+
			"no verified chain", maxSurplus>>10))
	}
	return nil
}

// signatureChecks returns how many signatures x509 checks at most, by the keys of the certificates
// that a peer sends, in search of chains that go on from a path. Like x509, it takes each
// certificate with the name of the issuer for a possible issuer, but not those whose CA is on the
// path. It stops above maxSignatureChecks. For each of the checks, x509 may make another one by the
// key of a root.
func signatureChecks(path, sent []*x509.Certificate) int {
	sum := 0
	last := path[len(path)-1]
	for i, c := range sent {
		if !bytes.Equal(c.RawSubject, last.RawIssuer) || hasCA(path, c) ||
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

// hasCA reports whether a path has a certificate of the same CA: with the same name, key and
// alternative names, as x509 compares them (alreadyInChain in crypto/x509). A CA whose certificate
// was renewed has several.
func hasCA(path []*x509.Certificate, c *x509.Certificate) bool {
	for _, on := range path {
		if bytes.Equal(c.RawSubject, on.RawSubject) &&
			bytes.Equal(c.RawSubjectPublicKeyInfo, on.RawSubjectPublicKeyInfo) {
			return bytes.Equal(alternativeNames(c), alternativeNames(on))
		}
	}
	return false
}

// alternativeNames returns the extension with the alternative names of a certificate, or nil.
func alternativeNames(c *x509.Certificate) []byte {
	for _, e := range c.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17}) { // RFC 5280, section 4.2.1.6
			return e.Value
		}
	}
	return nil
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
