// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

// otherCA returns the PEM of a CA that has signed nothing here.
func otherCA(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestCAFileChanges checks that a CA file is read again when it changes, and that one without a
// certificate leaves the last CA in place.
func TestCAFileChanges(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	file := filepath.Join(t.TempDir(), "ca.crt")
	replace := func(data []byte) {
		if err := os.WriteFile(file+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	replace(otherCA(t))
	n := &Network{
		Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Dials: &fair.Room{},
	}
	transport, err := n.TransportWithCA(file)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	for i, step := range []struct {
		data []byte
		want bool
	}{{nil, false}, {right, true}, {[]byte("nothing"), true}, {otherCA(t), false}, {right, true}} {
		if step.data != nil {
			replace(step.data)
		}
		transport.(*reloading).files.Fresh()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if (err == nil) != step.want {
			t.Errorf("step %d: error %v, want the server trusted: %t", i, err, step.want)
		}
		if err == nil {
			_ = resp.Body.Close()
		}
	}
}
