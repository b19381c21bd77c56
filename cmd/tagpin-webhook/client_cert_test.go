// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/chain/chaintest"
)

// clientCert returns a certificate that is its own CA and expires at the time end.
func clientCert(t *testing.T, end time.Time, usage x509.ExtKeyUsage) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "caller"},
		NotBefore: end.Add(-24 * time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{usage},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// refusedBy makes a request whose TLS handshake fails, and returns the caller's error. As API
// servers do, the caller presents its certificate to a server that trusts another CA too.
func (i *instance) refusedBy(roots *x509.CertPool, certificate *tls.Certificate) string {
	i.t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return certificate, nil
		},
	}}
	defer transport.CloseIdleConnections()
	response, _, err := i.review(&http.Client{Transport: transport}, "/enforce")
	if err == nil {
		i.t.Fatalf("a caller gets %+v, want an error", response)
	}
	return err.Error()
}

// layers returns a client's certificates whose verification takes long.
func layers(t *testing.T) *tls.Certificate {
	t.Helper()
	key := chaintest.NewKey(t, elliptic.P521())
	own := &tls.Certificate{PrivateKey: key}
	for _, c := range chaintest.Layers(t, key, 3, 3) {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return own
}

// TestClientCertificateIsAskedFor checks that callers are told which CAs are trusted, and present
// their certificate on each connection.
func TestClientCertificateIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	other := &instance{t: t}
	other.certificates(dir)
	i := start(t, 0, "--client-ca", filepath.Join(dir, "client-ca.crt"))
	defer i.end()
	asked := 0
	config := &tls.Config{
		RootCAs: i.pool, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		GetClientCertificate: func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked++
			if err := r.SupportsCertificate(&other.client); err != nil || len(r.AcceptableCAs) != 1 {
				t.Errorf("the server asks for certificates of %q: %v", r.AcceptableCAs, err)
			}
			return &other.client, nil
		},
	}
	for n := range 4 { // twice each
		config.MaxVersion = tls.VersionTLS12 + uint16(n)/2 //nolint:gosec // up to VersionTLS13
		transport := &http.Transport{TLSClientConfig: config.Clone()}
		if got := i.patch(&http.Client{Transport: transport}, "/enforce"); !strings.Contains(got, i.digest) {
			t.Errorf("a caller with a certificate gets %s, want a pin", got)
		}
		transport.CloseIdleConnections()
	}
	if asked != 4 {
		t.Errorf("a caller was asked %d times for its certificate, want 4", asked)
	}
}

// runbook returns what the runbook of an alert says.
func runbook(t *testing.T, alert string) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\n## "+alert+"\n")
	section, _, _ := strings.Cut(after, "\n## ")
	return section
}

// TestHandshakesInRunbooks makes the TLS handshakes fail that the runbooks are about, and checks
// that the runbooks have the words that are in tagpin's log and in the API server's error.
func TestHandshakesInRunbooks(t *testing.T) {
	const failed = "tls: failed to verify certificate: x509: "
	now := time.Now()
	right := clientCert(t, now.Add(time.Hour), x509.ExtKeyUsageClientAuth)
	expired := clientCert(t, now.Add(-time.Hour), x509.ExtKeyUsageClientAuth)
	early := clientCert(t, now.Add(48*time.Hour), x509.ExtKeyUsageClientAuth)
	server := clientCert(t, now.Add(time.Hour), x509.ExtKeyUsageServerAuth)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	var trusted []byte
	for _, c := range []*tls.Certificate{right, expired, early, server} {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}
		trusted = append(trusted, pem.EncodeToMemory(block)...)
	}
	if err := os.WriteFile(ca, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	i := start(t, 0, "--client-ca", ca)
	defer i.end()
	foreign := clientCert(t, now.Add(time.Hour), x509.ExtKeyUsageClientAuth)
	for _, tt := range []struct {
		name           string
		roots          *x509.CertPool
		certificate    *tls.Certificate
		logged, caller string
	}{
		{"no certificate", i.pool, &tls.Certificate{}, "client didn't provide a certificate", "certificate required"},
		{"expired", i.pool, expired, failed + "certificate has expired or is not yet valid", "remote error: tls: bad certificate"},
		{"not valid yet", i.pool, early, failed + "certificate has expired or is not yet valid", "remote error: tls: bad certificate"},
		{"of another CA", i.pool, foreign, failed + "certificate signed by unknown authority", "remote error: tls: bad certificate"},
		{"that takes long to verify", i.pool, layers(t), "its TLS certificates need more than 16 checks of signatures", "remote error: tls: bad certificate"},
		{"of a server", i.pool, server, failed + "certificate specifies an incompatible key usage", "remote error: tls: bad certificate"},
		{"tagpin's certificate is not trusted", x509.NewCertPool(), right, "remote error: tls: bad certificate", "x509"},
	} {
		if got := i.refusedBy(tt.roots, tt.certificate); !strings.Contains(got, tt.caller) {
			t.Errorf("%s: the caller's error is %q, want %q in it", tt.name, got, tt.caller)
		}
		i.stderr.await(t, `"reason":"`)
		if got := i.stderr.String()[i.stderr.read:]; !strings.Contains(got, tt.logged) {
			t.Errorf("%s: the log is %q, want %q in it", tt.name, got, tt.logged)
		}
		for alert, words := range map[string]string{"TagpinHandshakesFail": tt.logged, "TagpinCallsFail": tt.caller} {
			if !strings.Contains(runbook(t, alert), "`"+words+"`") {
				t.Errorf("%s: the runbook of %s lacks %q", tt.name, alert, words)
			}
		}
	}
	// Go's clients send only bad_certificate, whatever is wrong. Others send these alerts too.
	for _, alert := range []tls.AlertError{45, 48} { // certificate_expired, unknown_ca
		words := "remote error: " + alert.Error()
		if !strings.Contains(runbook(t, "TagpinHandshakesFail"), "`"+words+"`") {
			t.Errorf("the runbook of TagpinHandshakesFail lacks %q", words)
		}
	}
}
