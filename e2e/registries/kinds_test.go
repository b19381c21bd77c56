// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // for the access basic
	_ "github.com/distribution/distribution/v3/registry/auth/token"    // for the access bearer
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // for the images
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/sirupsen/logrus"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
)

// config returns a config of distribution 2 and 3, with the images in a folder. It is JSON, which
// is also YAML. host is the endpoint's, where its realm is by default.
func (e *endpoint) config(t testing.TB, dir, host string) []byte {
	t.Helper()
	all := map[string]any{
		"version": "0.1",
		"storage": map[string]any{
			"filesystem":  map[string]any{"rootdirectory": dir},
			"maintenance": map[string]any{"uploadpurging": map[string]any{"enabled": false}},
		},
		"http": map[string]any{"addr": "127.0.0.1:0", "secret": "one registry, one secret"},
	}
	switch e.access {
	case plain, secure:
	case basic:
		all["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "e2e", "path": e.htpasswdFile(t)}}
	case public, bearer:
		realm := "https://" + cmp.Or(e.realmHost, host) + "/token"
		all["auth"] = map[string]any{"token": e.realm.Parameters(realm, rootsFile())}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// distribution is distribution v3 in this process, with its images in a folder.
type distribution struct{ dir string }

func newDistribution(t testing.TB) store {
	logrus.SetOutput(io.Discard) // it logs every request, whatever its config says
	return &distribution{t.TempDir()}
}

func (d *distribution) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := newEndpoint(t, a)
	return e.serve(t, func(host string) http.Handler {
		text := e.config(t, d.dir, host)
		parsed, err := configuration.Parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return handlers.NewApp(context.Background(), parsed)
	})
}

// inMemory is a registry in this process that knows no users, so that a guard checks the requests.
type inMemory struct{ handler http.Handler }

// newGGCR returns go-containerregistry's registry.
func newGGCR(testing.TB) store {
	return &inMemory{ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))}
}

// newOCIRegistry returns the registry of CUE's ociregistry.
func newOCIRegistry(testing.TB) store {
	return &inMemory{ociserver.New(ocimem.New(), nil)}
}

func (m *inMemory) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := newEndpoint(t, a)
	return e.serve(t, func(host string) http.Handler {
		return &guard{next: m.handler, endpoint: e, host: host}
	})
}

// guard passes the requests that its access allows.
type guard struct {
	next     http.Handler
	endpoint *endpoint
	host     string
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch g.endpoint.access {
	case basic:
		user, password, _ := r.BasicAuth()
		if user != e2eregistry.User || password != g.endpoint.password {
			w.Header().Set("WWW-Authenticate", `Basic realm="e2e"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
	case public, bearer:
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if !g.endpoint.realm.Allows(token, name) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+g.host+`/token",service="registry"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
	case plain, secure:
	}
	g.next.ServeHTTP(w, r)
}
