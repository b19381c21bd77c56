// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// digests answers each request for a manifest with a digest, and counts the others.
type digests struct{ others atomic.Int64 }

func (d *digests) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.URL.Path, "/manifests/") {
		d.others.Add(1)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
	w.Header().Set("Docker-Content-Digest", someDigest)
}

// serve starts a server, and returns its host.
func serve(t *testing.T, h http.Handler, withTLS bool) (s *httptest.Server, host string) {
	t.Helper()
	s = httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes
	if withTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	_, host, _ = strings.Cut(s.URL, "://")
	return s, host
}

// hangsUp passes on connections whose first byte does not begin a TLS handshake, and closes others.
type hangsUp struct{ net.Listener }

func (l hangsUp) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		first := make([]byte, 1)
		if _, err := conn.Read(first); err == nil && first[0] != 0x16 {
			return &unread{conn, first}, nil
		}
		_ = conn.Close()
	}
}

type unread struct {
	net.Conn
	first []byte
}

func (c *unread) Read(p []byte) (int, error) {
	n := copy(p, c.first)
	c.first = c.first[n:]
	if n > 0 {
		return n, nil
	}
	return c.Conn.Read(p)
}

func digest(t *testing.T, c *registry.Client, image string, logins ...keychain.Credential) string {
	t.Helper()
	d, err := c.Digest(t.Context(), registry.Request{Ref: ref.MustParse(image), Credentials: logins})
	if err != nil {
		return err.Error()
	}
	return d.String()
}

// TestLoopback checks that hosts of this machine are asked by TLS with any certificate, or by plain
// HTTP, if the client is lenient and has no other settings for them. One request finds that out.
func TestLoopback(t *testing.T) {
	silent := httptest.NewUnstartedServer(&digests{})
	silent.Listener = hangsUp{silent.Listener}
	silent.Start()
	t.Cleanup(silent.Close)
	for name, withTLS := range map[string]bool{"plain HTTP": false, "TLS": true} {
		var d digests
		_, host := serve(t, &d, withTLS)
		c := &registry.Client{Lenient: registry.Lenient{Loopback: true}, ExplainAll: true}
		t.Cleanup(c.Close)
		_, port, _ := net.SplitHostPort(host)
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if got := digest(t, c, fmt.Sprintf("%s/app%d:1", host, i)); got != someDigest {
					t.Errorf("%s: Digest = %s, want %s", name, got, someDigest)
				}
			})
		}
		wg.Wait()
		if want := map[bool]int64{true: 1}[withTLS]; d.others.Load() != want {
			t.Errorf("%s: %d other requests, want %d", name, d.others.Load(), want)
		}
		if got := digest(t, c, "localhost:"+port+"/app:1"); got != someDigest {
			t.Errorf("%s: Digest at localhost = %s, want %s", name, got, someDigest)
		}
		if got := digest(t, c, strings.TrimPrefix(silent.URL, "http://")+"/app:1"); got != someDigest {
			t.Errorf("Digest at a server that hangs up = %s, want %s", got, someDigest)
		}
		for _, strict := range []*registry.Client{
			{ExplainAll: true},
			{ExplainAll: true, Lenient: registry.Lenient{Hosts: []string{"other.example"}}},
			{
				ExplainAll: true, Lenient: registry.Lenient{Loopback: true},
				Hosts: []registry.Host{{Name: host}},
			},
			{ExplainAll: true, Lenient: registry.Lenient{Loopback: true}, Network: network.Network{
				Rules: network.Rules{Deny: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
			}},
		} {
			if got := digest(t, strict, host+"/app:1"); strings.HasPrefix(got, "sha256:") {
				t.Errorf("%s: Digest with %+v = %s, want an error", name, strict.Lenient, got)
			}
			strict.Close()
		}
	}
}

// TestLenientHosts checks that the hosts for which the user vouches, and no others, are asked
// without verification, also if they are at a loopback address.
func TestLenientHosts(t *testing.T) {
	_, secure := serve(t, &digests{}, true)
	_, plain := serve(t, &digests{}, false)
	_, securePort, _ := net.SplitHostPort(secure)
	_, plainPort, _ := net.SplitHostPort(plain)
	resolver := nameserver(t, map[string][]string{
		"a.test": {"127.0.0.1"}, "b.test": {"127.0.0.1"}, "far.localhost": {"192.0.2.1"},
	})
	c := &registry.Client{
		ExplainAll: true, Network: network.Network{Resolver: resolver},
		Lenient: registry.Lenient{Hosts: []string{"a.test:" + securePort, "a.test:" + plainPort}, Loopback: true},
		Hosts:   []registry.Host{{Name: "a.test:" + securePort, TLS: network.TLSFiles{}}},
	}
	t.Cleanup(c.Close)
	for image, want := range map[string]string{
		"a.test:" + securePort + "/app:1": someDigest,
		"a.test:" + plainPort + "/app:1":  someDigest,
		"b.test:" + securePort + "/app:1": "b.test:" + securePort + ": its TLS certificate is for another host",
		"b.test:" + plainPort + "/app:1": "b.test:" + plainPort + ": it does not speak TLS; " +
			"if you trust the network, use --insecure b.test:" + plainPort,
		"far.localhost:1/app:1": "far.localhost:1: its address is not allowed; see network.allow in the file of --config",
	} {
		if got := digest(t, c, image); got != want {
			t.Errorf("Digest of %s = %s, want %s", image, got, want)
		}
	}
}

// TestLenientHostKeepsItsFiles checks that a host for which the user vouches is still shown its
// client certificate, and that its CA is still trusted for its token realm, which is verified.
func TestLenientHostKeepsItsFiles(t *testing.T) {
	realm, realmHost := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			t.Error("the client certificate was shown to the token realm")
		}
		fmt.Fprint(w, `{"token":"t"}`)
	}), true)
	_, realmPort, _ := net.SplitHostPort(realmHost)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			new(digests).ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://example.com:`+realmPort+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} //nolint:gosec // of a test
	s.StartTLS()
	t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	name, dir := "a.test:"+port, t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	files := network.TLSFiles{
		CA:         file("ca", "CERTIFICATE", realm.Certificate().Raw),
		ClientCert: file("crt", "CERTIFICATE", s.Certificate().Raw),
		ClientKey:  file("key", "PRIVATE KEY", key),
	}
	resolver := nameserver(t, map[string][]string{
		"a.test": {"127.0.0.1"}, "example.com": {"127.0.0.1"},
	})
	for lenient, want := range map[string]string{
		name: someDigest, "b.test": name + ": its TLS certificate is for another host",
	} {
		c := &registry.Client{
			ExplainAll: true, Network: registry.Loopback,
			Lenient: registry.Lenient{Hosts: []string{lenient}},
			Hosts:   []registry.Host{{Name: name, TLS: files, AuthHosts: []string{"example.com:" + realmPort}}},
		}
		c.Network.Resolver = resolver
		t.Cleanup(c.Close)
		if got := digest(t, c, name+"/app:1"); got != want {
			t.Errorf("Digest with --insecure %s = %s, want %s", lenient, got, want)
		}
	}
}

// TestNoOtherRegistryLeadsHere checks that a registry elsewhere can't make tagpin send a request to
// this machine, neither by a redirect nor by a token realm.
func TestNoOtherRegistryLeadsHere(t *testing.T) {
	var here digests
	_, host := serve(t, &here, true)
	_, plain := serve(t, &here, false)
	for name, h := range map[string]http.HandlerFunc{
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+host+"/v2/app/manifests/1", http.StatusFound)
		},
		"realm": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+host+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
		"plain realm": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+plain+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		},
	} {
		s, elsewhere := serve(t, h, true)
		_, port, _ := net.SplitHostPort(elsewhere)
		c := &registry.Client{
			ExplainAll: true, Lenient: registry.Lenient{Loopback: true},
			Network: network.Network{
				Roots:    x509.NewCertPool(),
				Resolver: nameserver(t, map[string][]string{"example.com": {"127.0.0.1"}}),
			},
		}
		c.Network.Roots.AddCert(s.Certificate())
		t.Cleanup(c.Close)
		got := digest(t, c, "example.com:"+port+"/app:1")
		if strings.HasPrefix(got, "sha256:") || here.others.Load() > 0 {
			t.Errorf("%s: Digest = %s, and %d requests, want an error and none", name, got, here.others.Load())
		}
	}
}

// TestLoopbackRealm checks that a registry on this machine may have its tokens from another port,
// but gets no login there.
func TestLoopbackRealm(t *testing.T) {
	_, realm := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the login was sent to another port")
		}
		fmt.Fprint(w, `{"token":"t"}`)
	}), false)
	_, host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			new(digests).ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+realm+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}), false)
	c := &registry.Client{ExplainAll: true, Lenient: registry.Lenient{Loopback: true}}
	t.Cleanup(c.Close)
	login := keychain.Credential{Auth: authn.AuthConfig{Username: "u", Password: "canary"}}
	if got := digest(t, c, host+"/app:1", login); got != someDigest {
		t.Errorf("Digest = %s, want %s", got, someDigest)
	}
}

// TestUnsettled checks that what could not be found out is asked again.
func TestUnsettled(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	c := &registry.Client{ExplainAll: true, Lenient: registry.Lenient{Loopback: true}}
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Digest(ctx, registry.Request{Ref: ref.MustParse(host + "/app:1")}); err == nil {
		t.Error("Digest after the end of the context = nil, want an error")
	}
	s := &http.Server{Handler: &digests{}, ErrorLog: log.New(io.Discard, "", 0)}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Serve(l) })
	t.Cleanup(func() { _ = s.Close(); wg.Wait() })
	if got := digest(t, c, host+"/app:1"); got != someDigest {
		t.Errorf("Digest = %s, want %s", got, someDigest)
	}
}
