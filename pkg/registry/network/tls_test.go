// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
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
	"strings"
	"sync/atomic"
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

// TestUnusableTLSFiles checks that an error names the files that it is about, and no others.
func TestUnusableTLSFiles(t *testing.T) {
	certificate, key := selfSigned(t, "own")
	_, otherKey := selfSigned(t, "other")
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		write(t, filepath.Join(dir, name), data)
		return filepath.Join(dir, name)
	}
	ca, crt, good := file("ca", certificate), file("crt", certificate), file("key", key)
	other, text := file("other", otherKey), file("text", []byte("no PEM"))
	for _, tt := range []struct {
		files TLSFiles
		want  []string
	}{
		{TLSFiles{CA: text}, []string{text}},
		{TLSFiles{CA: text, ClientCert: crt, ClientKey: good}, []string{text}},
		{TLSFiles{CA: ca, ClientCert: text, ClientKey: good}, []string{text, good}},
		{TLSFiles{CA: ca, ClientCert: crt, ClientKey: other}, []string{crt, other}},
		{TLSFiles{ClientCert: crt, ClientKey: other}, []string{crt, other}},
	} {
		_, err := (&Network{Dials: &fair.Room{}}).TransportFor("registry.example", tt.files)
		var got []string
		for _, path := range []string{ca, text, crt, good, other} {
			got = append(got, slices.Repeat([]string{path}, strings.Count(fmt.Sprint(err), path))...)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("TransportFor(%+v): %v, which names %v, want %v", tt.files, err, got, tt.want)
		}
	}
}

// TestClientCertificate checks that a client certificate is shown to its own host and to no other,
// and that it is read again when it changes. A certificate without its key is an error of Look, and
// leaves the last one in place.
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
		refused          bool
	}{
		{first, firstKey, "first", false},
		{second, firstKey, "first", true},
		{second, secondKey, "second", false},
	} {
		write(t, files.ClientCert, step.certificate)
		write(t, files.ClientKey, step.key)
		for range 2 { // it is an error as long as the files are as they are
			err := transport.Look()
			named := strings.Contains(fmt.Sprint(err), files.ClientCert)
			if (err != nil) != step.refused || named != step.refused {
				t.Errorf("Look = %v, want an error with the file: %t", err, step.refused)
			}
		}
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

// tunnels returns a proxy that is spoken to over TLS and makes tunnels. It reports the client
// certificates that it saw.
func tunnels(t *testing.T) (proxy *httptest.Server, shown func() int) {
	t.Helper()
	var certificates, all atomic.Int32
	proxy = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		certificates.Add(int32(len(r.TLS.PeerCertificates))) //nolint:gosec // a few
		to, err := new(net.Dialer).DialContext(r.Context(), "tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
		_, _ = io.Copy(from, to)
		_ = from.Close()
	}))
	proxy.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} //nolint:gosec // of a test
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	return proxy, func() int {
		if all.Load() == 0 {
			t.Error("the proxy was not asked")
		}
		return int(certificates.Load())
	}
}

// TestClientCertificateThroughProxy checks that a registry gets its client certificate through a
// proxy, and that a proxy that asks for one itself gets none.
func TestClientCertificateThroughProxy(t *testing.T) {
	var shown atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		shown.Add(int32(len(r.TLS.PeerCertificates))) //nolint:gosec // a few
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert} //nolint:gosec // of a test
	s.StartTLS()
	defer s.Close()
	proxy, shownToProxy := tunnels(t)
	certificate, key := selfSigned(t, "tagpin")
	dir := t.TempDir()
	files := TLSFiles{
		ClientCert: filepath.Join(dir, "tls.crt"), ClientKey: filepath.Join(dir, "tls.key"),
	}
	write(t, files.ClientCert, certificate)
	write(t, files.ClientKey, key)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate()) // httptest gives all servers the same
	n := &Network{
		Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Dials: &fair.Room{}, Roots: roots, Proxy: http.ProxyURL(address),
		Named: func(string) bool { return true },
	}
	transport, err := n.TransportFor(s.Listener.Addr().String(), files)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if n := shown.Load(); n != 1 {
		t.Errorf("the registry saw %d certificates, want 1", n)
	}
	if n := shownToProxy(); n != 0 {
		t.Errorf("the proxy saw %d certificates, want 0", n)
	}
}

// TestHandshakeThroughProxy checks that a TLS handshake through a proxy is bounded, and that the
// places of connections are given back.
func TestHandshakeThroughProxy(t *testing.T) {
	proxy, _ := tunnels(t)
	address, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for copies, want := range map[int]string{0: "", 200: "its TLS handshake has more than 64 KiB"} {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that the client hangs up
		s.StartTLS()
		own := &s.TLS.Certificates[0]
		own.Certificate = slices.Repeat(own.Certificate, 1+copies)
		n := &Network{
			Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			Dials: &fair.Room{Capacity: 4}, Roots: x509.NewCertPool(), Proxy: http.ProxyURL(address),
			Named: func(string) bool { return true },
		}
		n.Roots.AddCert(s.Certificate())
		for range 2 {
			if got := reasonOf(t, n, s.URL); got != want {
				t.Errorf("%d copies: %q, want %q", copies, got, want)
			}
			if inUse := n.Dials.Stats().InUse; inUse != 0 {
				t.Errorf("%d copies: %d places are in use, want 0", copies, inUse)
			}
		}
		s.Close()
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
	want := "it wants a client certificate, or another one; see clientCertFile in the file of --config"
	if got := Explain(err).ForUser(s.Listener.Addr().String()); got != want {
		t.Errorf("Explain(%v) = %s, want %s", err, got, want)
	}
}

// TestLargeCertificates checks that a connection to a server whose certificate has very many names
// is not kept, and that the error says why.
func TestLargeCertificates(t *testing.T) {
	for names, want := range map[int]string{
		100: "", 2000: "its TLS certificates have more than 1000 names",
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
		if got := reasonOf(t, n, s.URL); got != want {
			t.Errorf("%d names: %q, want %q", names, got, want)
		}
		if got := reasonBy(t, n.Unverified(), s.URL); got != want {
			t.Errorf("%d names, without verification: %q, want %q", names, got, want)
		}
		s.Close()
	}
}

// TestSurplusCertificates checks that a server may send a few certificates that are of no use, and
// not a large one, because nobody has looked at it. Without verification, none is of more use than
// another.
func TestSurplusCertificates(t *testing.T) {
	for usages, want := range map[int]string{
		10: "", 3000: "its TLS certificates have more than 8 KiB that belong to no verified chain",
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
			UnknownExtKeyUsage: slices.Repeat([]asn1.ObjectIdentifier{{1, 2}}, usages),
		}
		surplus, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs that the client hangs up
		s.StartTLS()
		own := &s.TLS.Certificates[0]
		own.Certificate = append(slices.Clip(own.Certificate), surplus)
		n := &Network{
			Rules: Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			Dials: &fair.Room{}, Roots: x509.NewCertPool(),
		}
		n.Roots.AddCert(s.Certificate())
		if got := reasonOf(t, n, s.URL); got != want {
			t.Errorf("%d usages: %q, want %q", usages, got, want)
		}
		if got := reasonBy(t, n.Unverified(), s.URL); got != "" {
			t.Errorf("%d usages, without verification: %q, want none", usages, got)
		}
		s.Close()
	}
}

// reasonOf returns why a HEAD request fails, or "" if it does not.
func reasonOf(t *testing.T, n *Network, address string) string {
	t.Helper()
	return reasonBy(t, n.Transport(), address)
}

func reasonBy(t *testing.T, transport http.RoundTripper, address string) string {
	t.Helper()
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, _, err := Do(client.Transport, r, Caller{Sender: "api", Namespace: "a"})
	if err == nil {
		_ = resp.Body.Close()
		return ""
	}
	if Kind(err) != nil {
		t.Errorf("Kind(%v) = %v, want nil", err, Kind(err))
	}
	return Explain(err).Reason
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
		transport.files.Fresh()
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
