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
	public access = "public" // TLS, with a token, which a realm gives to everybody
	basic  access = "basic"  // TLS, with a user name and a password
	bearer access = "bearer" // TLS, with a token, which a realm gives for them
)

var accesses = []access{plain, secure, public, basic, bearer}

func (a access) private() bool { return a == basic || a == bearer }
func (a access) tokens() bool  { return a == public || a == bearer }

// store holds a registry's images.
type store interface {
	// open starts a registry with the images. The end of the test stops it. Images are pushed to the
	// access plain.
	open(t testing.TB, a access) *endpoint
}

// kind is a kind of registry.
type kind struct {
	newStore func(t testing.TB) store
	accesses []access
}

// kinds are the kinds of registries by name. deploy/docs/registries.yaml has a row for each.
var kinds = map[string]kind{
	"docker-registry 2.8": {newDebian, accesses},
	"distribution 2.7":    {newDistribution2, accesses},
	"distribution 3":      {newDistribution, accesses},
	"ggcr":                {newGGCR, accesses},
	"ociregistry":         {newOCIRegistry, accesses},
	"Gitea":               {newGitea("team"), []access{public}},
	"Gitea, private":      {newGitea("hidden"), []access{bearer}},
}

// endpoint is where a registry is reached.
type endpoint struct {
	host       registry.Host // as in tagpin's config
	access     access
	owner      string             // the registry's name among the canaries
	password   string             // the user's, which only this registry may see
	realm      *e2eregistry.Realm // nil if the registry has its own, or needs none
	realmHost  string             // its host, if that is not the registry's
	repository string             // of the images
	asked      func() asked       // returns tagpin's requests since the last call
	kill       func()
}

// asked are tagpin's requests, with the statuses of their answers.
type asked struct {
	Manifests []string // such as "HEAD 200"; with the path if it is not that of a manifest
	Tokens    []string // such as "200"
}

// newEndpoint returns an endpoint with a password of its own and, if tokens are needed, a realm.
func newEndpoint(t testing.TB, a access) *endpoint {
	t.Helper()
	e := &endpoint{access: a, repository: repository}
	e.owner, e.password = env.seen.newRegistry()
	if !a.tokens() {
		return e
	}
	var err error
	if e.realm, err = e2eregistry.NewRealm(env.ca, "registry"); err != nil {
		t.Fatal(err)
	}
	e.realm.Password, e.realm.Public = e.password, a == public
	t.Cleanup(func() {
		for _, token := range e.realm.Tokens() {
			env.seen.secret(token, e.owner)
		}
	})
	return e
}

// rootsFile is a file that all registries read.
func rootsFile() string { return filepath.Join(env.dir, "ca.crt") }

// htpasswdFile writes a file with the endpoint's user.
func (e *endpoint) htpasswdFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "htpasswd")
	users, err := e2eregistry.Htpasswd(e.password)
	if err := errors.Join(err, os.WriteFile(file, users, 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
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

// fill pushes an image of each type, and returns their digests by tag and the endpoint that they
// were pushed to.
func fill(t testing.TB, s store) (digests map[string]digest.Digest, at *endpoint) {
	t.Helper()
	at = s.open(t, plain)
	digests = map[string]digest.Digest{}
	for tag, of := range contents {
		digests[tag] = at.push(t, tag, of)
	}
	at.asked()
	return digests, at
}

// serve starts a registry at an endpoint, with its realm if there is one. The handler is in this
// process, or passes requests on to a program.
func (e *endpoint) serve(t testing.TB, h func(host string) http.Handler) *endpoint {
	t.Helper()
	r := &recorder{}
	server := newServer(t, newLeaf(t, e.access), r)
	host := server.Listener.Addr().String()
	env.seen.belongs(host, e.owner)
	mux := http.NewServeMux()
	mux.Handle("/", h(host))
	if e.realm != nil && e.realmHost == "" {
		mux.Handle("/token", e.realm)
	}
	r.handler = mux
	e.host, e.asked = newHost(host, e.access), r.take
	if e.realmHost != "" {
		e.host.AuthHosts = []string{e.realmHost}
	}
	e.kill = func() { server.CloseClientConnections(); server.Close() }
	return e
}
