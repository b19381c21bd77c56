// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/crypto/bcrypt"

	"github.com/tagpin/tagpin/e2e/pki"
	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/pkg/registry"
)

// access is how a registry is to be asked.
type access string

const (
	plain  access = "plain"  // HTTP, by everybody
	secure access = "secure" // TLS with a private CA, by everybody
	basic  access = "basic"  // that, with a user name and a password
	bearer access = "bearer" // that, with a token, which a realm gives for them
)

var accesses = []access{plain, secure, basic, bearer}

func (a access) private() bool { return a == basic || a == bearer }

// store is a registry's images, at one endpoint for each access that is wanted.
type store interface {
	// open starts a registry over the images. It ends with the test.
	open(t testing.TB, a access) *endpoint
}

// stores are the registries that there are.
var stores = map[string]func(t testing.TB) store{
	"docker-registry 2.8": newDebian,
	"distribution 3":      newDistribution,
	"ggcr":                newGGCR,
}

// endpoint is where a registry is asked.
type endpoint struct {
	host   registry.Host // how the config has it
	access access
	realm  *e2eregistry.Realm // of a bearer's
	asked  func() asked       // what tagpin has asked since the last time
	kill   func()
}

// asked are the requests of tagpin and the statuses of their answers.
type asked struct {
	Manifests []string // HEAD 200; with the path where it is no manifest's
	Tokens    []string // 200
}

// files that all registries read.
func rootsFile() string    { return filepath.Join(env.dir, "ca.crt") }
func htpasswdFile() string { return filepath.Join(env.dir, "htpasswd") }

func writeFiles() error {
	hash, err := bcrypt.GenerateFromPassword([]byte(e2eregistry.Password), bcrypt.MinCost)
	if err != nil {
		return err
	}
	if err := os.WriteFile(htpasswdFile(), []byte(e2eregistry.User+":"+string(hash)+"\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(rootsFile(), env.ca.PEM, 0o600)
}

func newLeaf(t testing.TB) *pki.Leaf {
	t.Helper()
	leaf, err := env.ca.Issue()
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// writeLeaf writes a certificate and its key, for a server's config.
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

// url is the address.
func (e *endpoint) url() string {
	if e.access == plain {
		return "http://" + e.host.Name
	}
	return "https://" + e.host.Name
}

// at is the endpoint as it is asked through nginx. What its realm is asked directly is counted too.
func (e *endpoint) at(t testing.TB, n *nginx, address string) *endpoint {
	through := &endpoint{host: newHost(address, e.access), access: e.access, realm: e.realm, kill: e.kill}
	through.host.AuthHosts = append([]string{e.host.Name}, e.host.AuthHosts...) // the realm, wherever it is
	through.asked = func() asked {
		return asked{Manifests: n.asked(t).Manifests, Tokens: e.asked().Tokens}
	}
	return through
}

// newHost is the config of a registry with an access.
func newHost(name string, a access) registry.Host {
	if a == plain {
		return registry.Host{Name: name, Insecure: true}
	}
	return registry.Host{Name: name, CAFile: rootsFile()}
}

// newRealm makes a realm whose tokens the witness knows of.
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

// fill pushes an image of each kind, and returns their digests by tag.
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

// serve serves a registry in this process, and its realm beside it.
func serve(t testing.TB, a access, realm *e2eregistry.Realm, h func(host string) http.Handler) *endpoint {
	t.Helper()
	r := &recorder{}
	server := newServer(t, a, r)
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
