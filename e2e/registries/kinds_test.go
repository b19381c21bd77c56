// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // for the access basic
	_ "github.com/distribution/distribution/v3/registry/auth/token"    // for the access bearer
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // for the images
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"github.com/sirupsen/logrus"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
)

// config returns a config of distribution 2.8 and 3, with the images in a folder. It is JSON, which
// is also YAML.
func config(t testing.TB, dir string, a access, auth, serving map[string]any) []byte {
	t.Helper()
	serving["secret"] = "one registry, one secret"
	all := map[string]any{
		"version": "0.1",
		"storage": map[string]any{
			"filesystem":  map[string]any{"rootdirectory": dir},
			"maintenance": map[string]any{"uploadpurging": map[string]any{"enabled": false}},
		},
		"http": serving,
	}
	switch a {
	case plain, secure:
	case basic:
		all["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "e2e", "path": htpasswdFile()}}
	case bearer:
		all["auth"] = map[string]any{"token": auth}
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
	var realm *e2eregistry.Realm
	if a == bearer {
		realm = newRealm(t)
	}
	return serve(t, a, realm, func(host string) http.Handler {
		var auth map[string]any
		if realm != nil {
			auth = realm.Parameters("https://"+host+"/token", rootsFile())
		}
		text := config(t, d.dir, a, auth, map[string]any{})
		parsed, err := configuration.Parse(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return handlers.NewApp(context.Background(), parsed)
	})
}

// inMemory is go-containerregistry's registry in this process. It knows no users, so a guard checks
// the requests.
type inMemory struct{ handler http.Handler }

func newGGCR(testing.TB) store {
	return &inMemory{ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))}
}

func (m *inMemory) open(t testing.TB, a access) *endpoint {
	t.Helper()
	var realm *e2eregistry.Realm
	if a == bearer {
		realm = newRealm(t)
	}
	return serve(t, a, realm, func(host string) http.Handler {
		return &guard{next: m.handler, access: a, realm: realm, host: host}
	})
}

// guard passes the requests that its access allows.
type guard struct {
	next   http.Handler
	access access
	realm  *e2eregistry.Realm
	host   string
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch g.access {
	case basic:
		user, password, _ := r.BasicAuth()
		if user != e2eregistry.User || password != e2eregistry.Password {
			w.Header().Set("WWW-Authenticate", `Basic realm="e2e"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
	case bearer:
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
		if !g.realm.Allows(token, name) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+g.host+`/token",service="registry"`)
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
	case plain, secure:
	}
	g.next.ServeHTTP(w, r)
}
