// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// fixture is a registry that records the requests for manifests. Repositories below private/ need
// the password "canary", and those below busy/ answer 503.
type fixture struct {
	http.Handler
	host   string
	status atomic.Int32 // of the answers to all lookups, or 0 for those of a registry

	mu       sync.Mutex
	requests []string
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{Handler: ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.host = strings.TrimPrefix(server.URL, "http://")
	return f
}

func (f *fixture) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/manifests/") {
		f.mu.Lock()
		f.requests = append(f.requests, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
	}
	_, password, _ := r.BasicAuth()
	switch {
	case strings.HasPrefix(r.URL.Path, "/v2/private/") && password != "canary":
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasPrefix(r.URL.Path, "/v2/busy/"):
		w.WriteHeader(http.StatusServiceUnavailable)
	case f.status.Load() != 0:
		w.WriteHeader(int(f.status.Load()))
	default:
		f.Handler.ServeHTTP(w, r)
	}
}

// take returns the requests since the last call.
func (f *fixture) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.requests
	f.requests = nil
	return taken
}

// images returns an Auditor's access to the registry.
func (f *fixture) images(t testing.TB, more ...registry.Host) *resolve.Mirrors {
	t.Helper()
	client := &registry.Client{
		Hosts: append(more, registry.Host{Name: f.host, Insecure: true, RequestsPerSecond: 1e6}),
		Network: network.Network{
			Rules: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
	}
	t.Cleanup(client.Close)
	return &resolve.Mirrors{
		Next:   &resolve.Credentials{Next: &resolve.Registry{Client: client}},
		Client: client,
	}
}

// auditor returns an Auditor for the registry.
func (f *fixture) auditor(t testing.TB) *audit.Auditor {
	t.Helper()
	return &audit.Auditor{Images: f.images(t)}
}

// pusher pushes without a login.
type pusher struct {
	t    testing.TB
	host string
}

func (f *fixture) pusher(t testing.TB) pusher {
	t.Helper()
	open := httptest.NewServer(f.Handler)
	t.Cleanup(open.Close)
	return pusher{t, strings.TrimPrefix(open.URL, "http://")}
}

// check ends the test if there is an error.
func check[T any](t testing.TB, value T, err error) T {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// image pushes an image under a tag and returns its digest.
func (p pusher) image(tag, author string) string {
	p.t.Helper()
	at, err := name.NewTag(p.host + "/" + tag)
	check(p.t, 0, err)
	image := p.build(author)
	check(p.t, 0, remote.Write(at, image))
	d, err := image.Digest()
	return check(p.t, d, err).String()
}

func (p pusher) build(author string) v1.Image {
	p.t.Helper()
	image, err := mutate.ConfigFile(empty.Image,
		&v1.ConfigFile{Author: author, RootFS: v1.RootFS{Type: "layers"}})
	return check(p.t, image, err)
}

// index pushes an index of images under a tag and returns its digest and those of the images. A
// platform "attestation" is one.
func (p pusher) index(tag string, authors ...string) (digest string, children []string) {
	p.t.Helper()
	var index v1.ImageIndex = empty.Index
	for i, author := range authors {
		image := p.build(author)
		platform := &v1.Platform{OS: "linux", Architecture: []string{"amd64", "arm64", "s390x"}[i]}
		if strings.HasPrefix(author, "attestation") {
			platform = &v1.Platform{OS: "unknown", Architecture: "unknown"}
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: platform},
		})
		d, err := image.Digest()
		children = append(children, check(p.t, d, err).String())
	}
	at, err := name.NewTag(p.host + "/" + tag)
	check(p.t, 0, err)
	check(p.t, 0, remote.WriteIndex(at, index))
	d, err := index.Digest()
	return check(p.t, d, err).String(), children
}

// remove deletes a manifest by its tag or digest.
func (p pusher) remove(image string) {
	p.t.Helper()
	at, err := name.ParseReference(p.host + "/" + image)
	check(p.t, 0, err)
	check(p.t, 0, remote.Delete(at))
}
