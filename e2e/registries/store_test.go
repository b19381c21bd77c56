// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/e2e/pki"
	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// access is how a registry is reached.
type access string

const (
	plain  access = "plain"  // HTTP, open to everybody
	secure access = "secure" // TLS with a private CA, open to everybody
	basic  access = "basic"  // TLS, with a user name and a password
	bearer access = "bearer" // TLS, with a token, which a realm gives for them
)

var accesses = []access{plain, secure, basic, bearer}

func (a access) private() bool { return a == basic || a == bearer }

// store holds a registry's images.
type store interface {
	// open starts a registry with the images. The end of the test stops it.
	open(t testing.TB, a access) *endpoint
}

// stores are the kinds of registries.
var stores = map[string]func(t testing.TB) store{
	"docker-registry 2.8": newDebian,
	"distribution 3":      newDistribution,
	"ggcr":                newGGCR,
}

// endpoint is where a registry is reached.
type endpoint struct {
	host   registry.Host // as in tagpin's config
	access access
	realm  *e2eregistry.Realm // only for the access bearer
	asked  func() asked       // returns tagpin's requests since the last call
	kill   func()
}

// asked are tagpin's requests, with the statuses of their answers.
type asked struct {
	Manifests []string // such as "HEAD 200"; with the path if it is not that of a manifest
	Tokens    []string // such as "200"
}

// rootsFile and htpasswdFile are files that all registries read.
func rootsFile() string    { return filepath.Join(env.dir, "ca.crt") }
func htpasswdFile() string { return filepath.Join(env.dir, "htpasswd") }

func writeFiles() error {
	users, err := e2eregistry.Htpasswd()
	return errors.Join(err,
		os.WriteFile(htpasswdFile(), users, 0o600),
		os.WriteFile(rootsFile(), env.ca.PEM, 0o600),
	)
}

// newLeaf returns a certificate for a server, or nil if the access is plain.
func newLeaf(t testing.TB, a access) *pki.Leaf {
	t.Helper()
	if a == plain {
		return nil
	}
	leaf, err := env.ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// writeLeaf writes a certificate and its key to files.
func writeLeaf(t testing.TB, leaf *pki.Leaf) (certificate, key string) {
	t.Helper()
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, text := range map[string][]byte{certificate: leaf.CertPEM, key: leaf.KeyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificate, key
}

// url returns the URL of the registry.
func (e *endpoint) url() string {
	if e.access == plain {
		return "http://" + e.host.Name
	}
	return "https://" + e.host.Name
}

// newHost returns tagpin's config of a registry with the given access.
func newHost(name string, a access) registry.Host {
	if a == plain {
		return registry.Host{Name: name, Insecure: true}
	}
	return registry.Host{Name: name, TLS: network.TLSFiles{CA: rootsFile()}}
}

// newRealm makes a realm, and tells the witness its tokens.
func newRealm(t testing.TB) *e2eregistry.Realm {
	t.Helper()
	realm, err := e2eregistry.NewRealm(env.ca, "registry")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, token := range realm.Tokens() {
			env.seen.secret(token)
		}
	})
	return realm
}

// fill pushes an image of each kind, and returns their digests by tag and the endpoint that they
// were pushed to.
func fill(t testing.TB, s store) (digests map[string]digest.Digest, at *endpoint) {
	t.Helper()
	at = s.open(t, plain)
	digests = map[string]digest.Digest{}
	for tag, of := range contents {
		digests[tag] = push(t, at.host.Name, tag, of)
	}
	at.asked()
	return digests, at
}

// serve starts a registry in this process, with its realm if there is one.
func serve(
	t testing.TB, a access, realm *e2eregistry.Realm, h func(host string) http.Handler,
) *endpoint {
	t.Helper()
	r := &recorder{}
	server := newServer(t, newLeaf(t, a), r)
	host := server.Listener.Addr().String()
	mux := http.NewServeMux()
	mux.Handle("/", h(host))
	if realm != nil {
		mux.Handle("/token", realm)
	}
	r.handler = mux
	return &endpoint{
		host: newHost(host, a), access: a, realm: realm, asked: r.take,
		kill: func() { server.CloseClientConnections(); server.Close() },
	}
}
