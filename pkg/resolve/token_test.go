// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestRealmMoves checks that a lookup succeeds when the registry's token endpoint has moved.
func TestRealmMoves(t *testing.T) {
	at := func(path string) rules {
		return rules{own: {{On: path, Then: registrytest.Token}, {As: "u", Then: registrytest.Image}, {Then: registrytest.Challenged(`Bearer realm="https://{registry}/` + path + `"`)}}}
	}
	w := registrytest.Start(t, at("old/token"))
	top := build(t, w.Client(registry.Host{Name: w.Host(own)}))
	ask := func(image string) {
		t.Helper()
		_, err := top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(w.Host(own) + "/" + image), Keychain: having(registrytest.Users("u")...), Fresh: true})
		if err != nil {
			t.Error(err)
		}
	}
	ask("t/app:1")
	w.Change(rules{own: append([]rule{{On: "old/token", Then: answer{Status: http.StatusNotFound}}}, at("new/token")[own]...)})
	ask("t/app2:1")
	want := []string{
		"HEAD t/app:1", "GET old/token:t/app:pull Basic u", "HEAD t/app:1 Bearer u",
		"GET old/token:t/app2:pull Basic u", "HEAD t/app2:1", "GET new/token:t/app2:pull Basic u", "HEAD t/app2:1 Bearer u",
	}
	if diff := cmp.Diff(want, w.Requests()); diff != "" {
		t.Errorf("requests -want +got\n%s", diff)
	}
}

// TestTokenExpires checks that a lookup succeeds when the registry has forgotten a token before its
// time, also if its answer is no 401 (R43).
func TestTokenExpires(t *testing.T) {
	for _, code := range []int{http.StatusUnauthorized, http.StatusBadRequest} {
		issued := 0
		host, c := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.Header.Get("Authorization") {
			case fmt.Sprint("Bearer t", issued):
				w.Header().Set("Content-Type", registrytest.ImageType)
				w.Header().Set(digestHeader, sumOfImage)
				_, _ = io.WriteString(w, image) // not of a HEAD
			case "":
				if r.URL.Path == "/token" {
					issued++
					fmt.Fprintf(w, `{"token":"t%d"}`, issued)
					return
				}
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token"`, r.Host))
				w.WriteHeader(http.StatusUnauthorized)
			default:
				w.WriteHeader(code)
			}
		}))
		for i := range 3 {
			if _, err := get(t, c, host+"/app:1"); err != nil {
				t.Errorf("%d, lookup %d: %v", code, i, err)
			}
			issued++ // forgets the last one
		}
	}
}
