// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

// selfSigned returns the PEM of a new certificate that is its own CA, and of its key.
func selfSigned(t *testing.T, name string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// otherCA returns the PEM of a CA that has signed nothing here.
func otherCA(t *testing.T) []byte {
	certificate, _ := selfSigned(t, "other")
	return certificate
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestClientCertificate checks that a client certificate is shown to its own host and to no other,
// that it is read again when it changes, and that a certificate without its key leaves the last one
// in place.
func TestClientCertificate(t *testing.T) {
	serve := func() *httptest.Server {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, shown := range r.TLS.PeerCertificates {
				w.Header().Add("Shown", shown.Subject.CommonName)
			}
		}))
		s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} //nolint:gosec // of a test
		s.StartTLS()
		t.Cleanup(s.Close)
		return s
	}
	own, other := serve(), serve()
	dir := t.TempDir()
	files := TLSFiles{
		CA:         filepath.Join(dir, "ca.crt"),
		ClientCert: filepath.Join(dir, "tls.crt"), ClientKey: filepath.Join(dir, "tls.key"),
	}
	write(t, files.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate().Raw}))
	first, firstKey := selfSigned(t, "first")
	second, secondKey := selfSigned(t, "second")
	write(t, files.ClientCert, first)
	write(t, files.ClientKey, firstKey)
	n := &Network{
		Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, Dials: &fair.Room{},
	}
	transport, err := n.TransportFor(own.Listener.Addr().String(), files)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	for _, step := range []struct {
		certificate, key []byte
		want             string
	}{
		{first, firstKey, "first"}, {second, firstKey, "first"}, {second, secondKey, "second"},
	} {
		write(t, files.ClientCert, step.certificate)
		write(t, files.ClientKey, step.key)
		transport.(*reloading).files.Fresh()
		for server, want := range map[*httptest.Server]string{own: step.want, other: ""} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, server.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if got := resp.Header.Get("Shown"); got != want {
				t.Errorf("%s was shown to %s, want %s", got, server.URL, want)
			}
		}
	}
}

// TestClientCertificateIsWanted checks that an error says so. By TLS 1.2 the server's answer does
// not.
func TestClientCertificateIsWanted(t *testing.T) {
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that there is no certificate
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	n := &Network{
		Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Dials: &fair.Room{}, Roots: roots,
	}
	client := &http.Client{Transport: n.Transport()}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err == nil {
		_ = resp.Body.Close()
		t.Fatal("Do = nil, want an error")
	}
	want := "it wants a client certificate, or another one; see clientCertFile"
	if got := Reason(err, true); got != want {
		t.Errorf("Reason(%v) = %s, want %s", err, got, want)
	}
}

// TestLargeCertificates checks that a connection to a server whose certificate has very many names
// is not kept, and that the error says why.
func TestLargeCertificates(t *testing.T) {
	for names, want := range map[int]string{
		100: "", 2000: "its TLS certificates are too large",
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
			BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			URIs: slices.Repeat([]*url.URL{{Path: "x"}}, names),
		}
		der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that the client hangs up
		own := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
		s.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
		s.StartTLS()
		n := &Network{
			Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			Dials: &fair.Room{}, Roots: x509.NewCertPool(),
		}
		n.Roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		client := &http.Client{Transport: n.Transport()}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if resp, err := client.Do(r); err != nil {
			got = Reason(err, true)
			if Kind(err) != nil {
				t.Errorf("Kind(%v) = %v, want nil", err, Kind(err))
			}
		} else {
			_ = resp.Body.Close()
		}
		if got != want {
			t.Errorf("%d names: %q, want %q", names, got, want)
		}
		client.CloseIdleConnections()
		s.Close()
	}
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
	transport, err := n.TransportFor("registry.example", TLSFiles{CA: file})
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
