// SPDX-License-Identifier: Apache-2.0

package registry

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
	"strings"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
)

// another is a certificate, as PEM, that signs nothing here.
func another(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// A CA file is read again when it changes; what is no certificate leaves the last one in place.
func TestCAFileChanges(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	}))
	defer s.Close()
	right := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	host, file := strings.TrimPrefix(s.URL, "https://"), filepath.Join(t.TempDir(), "ca.crt")
	replace := func(data []byte) {
		if err := os.WriteFile(file+".new", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	replace(another(t))
	c := &Client{Network: Network{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Hosts: []Host{{Name: host, CAFile: file}}}
	defer c.Close()
	for i, step := range []struct {
		data []byte
		want bool
	}{{nil, false}, {right, true}, {[]byte("nothing"), true}, {another(t), false}, {right, true}} {
		if step.data != nil {
			replace(step.data)
		}
		if err := c.Init(); err != nil {
			t.Fatal(err)
		}
		c.state.gates = newGates()
		c.state.transports[address{host: host}].(*trusting).files.Fresh()
		_, err := c.Manifest(t.Context(), Request{Ref: ref.MustParse(host + "/a:1"), Method: http.MethodHead})
		if (err == nil) != step.want {
			t.Errorf("step %d: %v, want it trusted: %t", i, err, step.want)
		}
	}
}
