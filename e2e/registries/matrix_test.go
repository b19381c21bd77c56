// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// front is what stands before a registry. Beside its settings of nginx it has what tagpin asks it: for an image of a
// registry that is open, and of a private one, when nothing is known of it, and then for another look-up.
type front struct {
	name          string
	settings      string
	open, private []string
	again         []string
}

var fronts = []front{
	{
		name: "direct",
		open: []string{"HEAD 200"}, private: []string{"HEAD 401", "HEAD 200"}, again: []string{"HEAD 200"},
	},
	{
		name: "no digest header", settings: "proxy_hide_header Docker-Content-Digest;",
		open: []string{"HEAD 200", "GET 200"}, private: []string{"HEAD 401", "HEAD 200", "GET 200"}, again: []string{"HEAD 200", "GET 200"},
	},
	{
		name: "HEAD refused", settings: "if ($request_method = HEAD) { return 405; }",
		// It is remembered that there is no use in asking by HEAD.
		open: []string{"HEAD 405", "GET 200"}, private: []string{"HEAD 405", "GET 401", "GET 200"}, again: []string{"GET 200"},
	},
	{
		name: "HEAD hidden", settings: "if ($request_method = HEAD) { return 404; }",
		open: []string{"HEAD 404", "GET 200"}, private: []string{"HEAD 404", "GET 401", "GET 200"}, again: []string{"HEAD 404", "GET 200"},
	},
}

// cold is what is asked of a registry that nothing is known of.
func (f front) cold(a access) asked {
	switch a {
	case basic:
		return asked{Manifests: f.private}
	case bearer:
		return asked{Manifests: f.private, Tokens: []string{"200"}}
	case plain, secure:
	}
	return asked{Manifests: f.open}
}

// TestMatrix looks up each kind of content at each registry, each access and each front: the digest is the one that was
// pushed, and the requests are as few as can be.
func TestMatrix(t *testing.T) {
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			store := newStore(t)
			digests, plainly := fill(t, store)
			for _, a := range accesses {
				at := plainly
				if a != plain {
					at = store.open(t, a)
				}
				for i, e := range behind(t, at) {
					t.Run(string(a)+"/"+fronts[i].name, func(t *testing.T) {
						for tag, want := range digests {
							t.Run(tag, func(t *testing.T) {
								c := e.client(t)
								c.want(t, tag, want)
								wantAsked(t, "cold", e, fronts[i].cold(a))
								c.want(t, tag, want)
								wantAsked(t, "known", e, asked{Manifests: fronts[i].again})
							})
						}
					})
				}
			}
		})
	}
}

// behind gives an endpoint at each front.
func behind(t testing.TB, at *endpoint) []*endpoint {
	t.Helper()
	sites := make([]site, 0, len(fronts)-1)
	for _, f := range fronts[1:] {
		s := site{before: at, settings: f.settings}
		if at.access != plain {
			s.leaf = newLeaf(t)
		}
		sites = append(sites, s)
	}
	n := startNginx(t, sites...)
	all := []*endpoint{at}
	for _, address := range n.addresses {
		all = append(all, at.at(t, n, address))
	}
	return all
}

func wantAsked(t testing.TB, what string, e *endpoint, want asked) {
	t.Helper()
	if diff := cmp.Diff(want, e.asked()); diff != "" {
		t.Errorf("%s: asked, -want +got:\n%s", what, diff)
	}
}
