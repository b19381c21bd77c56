// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// TestMirrorsOfAll checks which registries have the mirrors of the host "*", however their names
// are spelled.
func TestMirrorsOfAll(t *testing.T) {
	c := &Client{Hosts: []Host{
		{Name: "*", Mirrors: []Mirror{{Host: "one.internal"}, {Host: "two.internal:5000/all"}}},
		{Name: "two.internal:5000", Insecure: true},
		{Name: "own.example", Mirrors: []Mirror{{Host: "three.internal"}}},
		{Name: "none.example", Mirrors: []Mirror{}},
	}}
	for name, want := range map[string]string{
		"docker.io": "one.internal two.internal:5000/all", "other.example:5000": "one.internal two.internal:5000/all",
		"one.internal": "two.internal:5000/all", "One.Internal:0443": "two.internal:5000/all",
		"two.internal:05000": "one.internal", "two.internal": "one.internal two.internal:5000/all",
		"own.example": "three.internal", "none.example": "",
	} {
		var got []string
		for _, m := range c.Host(name).Mirrors {
			got = append(got, m.Host)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("Host(%s).Mirrors = %v, want %s", name, got, want)
		}
	}
	for _, name := range []string{"one.internal", "two.internal:5000", "three.internal"} {
		if c.Label(name) != name || !c.Network.Named(name) {
			t.Errorf("%s has label %q and is named: %t, want a mirror to be named", name, c.Label(name), c.Network.Named(name))
		}
	}
}

// TestSource checks by which name a mirror knows a registry, however a tenant spells it.
func TestSource(t *testing.T) {
	c := &Client{Hosts: []Host{{Name: "plain.example", Insecure: true}, {Name: "plain.example:80", Insecure: true}}}
	for image, want := range map[string]string{
		"nginx": "docker.io", "registry-1.docker.io/library/nginx": "docker.io",
		"Registry.Example:0443/a": "registry.example", "registry.example:05000/a": "registry.example:5000",
		"plain.example:080/a": "plain.example:80", "mirror.internal/a": "", "Mirror.Internal:443/a": "",
	} {
		_, route, err := c.AtMirror(Mirror{Host: "mirror.internal/x"}, ref.MustParse(image))
		if err != nil || route.Source != want {
			t.Errorf("AtMirror of %s = %+v, %v, want the source %q", image, route, err, want)
		}
	}
}

// atMirror returns a request for an image at a mirror.
func (c *Client) atMirror(t *testing.T, m Mirror, image string) Request {
	t.Helper()
	there, route, err := c.AtMirror(m, ref.MustParse(image))
	if err != nil {
		t.Fatal(err)
	}
	return Request{Ref: there, Route: route, Namespace: "a"}
}

// TestMirrorOfOneRegistry checks that what a mirror answers for one registry closes no gate for
// images of another one, because a tenant may have chosen the first. A mirror to which no
// connection can be made is not asked for any, and one that has refused a namespace's login is not
// shown that by the namespace again.
func TestMirrorOfOneRegistry(t *testing.T) {
	const good, evil = "ghcr.io/team/app", "evil.example/team/"
	for _, tt := range []struct {
		name string
		e    requestError
		open bool
	}{
		{"503", requestError{status: http.StatusServiceUnavailable}, true},
		{"429", requestError{status: http.StatusTooManyRequests}, true},
		{"a refused login", requestError{status: http.StatusUnauthorized, login: true}, false},
		{"no connection", requestError{evidence: network.NotConnected}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := over(handler(nil))
			mirror := Mirror{Host: "mirror.internal"}
			credentials := []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: "p"}}}
			for _, path := range []string{"a/x", "b/x", "c/x", "d/x"} {
				req := c.atMirror(t, mirror, evil+path)
				req.Credentials = credentials
				e := tt.e
				c.one(req).judge(&e)
			}
			req := c.atMirror(t, mirror, good)
			req.Credentials = credentials
			if err := closed(c.gates, c.one(req).gates()); (err == nil) != tt.open {
				t.Errorf("gates of %s at the mirror: %v, want them open: %t", good, err, tt.open)
			}
			req.Namespace = "b"
			open := tt.e.evidence == 0
			if err := closed(c.gates, c.one(req).gates()); (err == nil) != open {
				t.Errorf("gates of %s for another namespace: %v, want them open: %t", good, err, open)
			}
		})
	}
}

// TestMirrorLearns checks that a challenge is remembered for all repositories of a mirror whose API
// has a path of its own, with the name that the mirror has for them, and for no other registry.
func TestMirrorLearns(t *testing.T) {
	var asked []string
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/hub/v2/")
		asked = append(asked, r.Method+" "+strings.TrimSuffix(path, "/manifests/1")+" "+r.URL.Query().Get("ns")+r.URL.Query().Get("scope"))
		scope := "repository:proxy/" + strings.TrimSuffix(path, "/manifests/1") + ":pull"
		withToken(`https://mirror.internal/token",scope="`+scope, nil)(w, r)
	}))
	mirror := Mirror{Host: "mirror.internal/hub/v2", OverridePath: true}
	for _, image := range []string{"quay.io/a:1", "quay.io/b:1", "quay.io/a:1", "ghcr.io/a:1"} {
		if _, err := c.Head(t.Context(), c.atMirror(t, mirror, image)); err != nil {
			t.Errorf("%s: %v", image, err)
		}
	}
	want := []string{
		"HEAD a quay.io", "GET /token repository:proxy/a:pull", "HEAD a quay.io",
		"HEAD b quay.io", "GET /token repository:proxy/b:pull", "HEAD b quay.io", "HEAD a quay.io",
		"HEAD a ghcr.io", "GET /token repository:proxy/a:pull", "HEAD a ghcr.io",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("requests -want +got\n%s", diff)
	}
}

// TestMirrorRefusesHead checks that a mirror that refuses HEAD for one registry is still asked by
// HEAD for another one, and that all have the same bounds.
func TestMirrorRefusesHead(t *testing.T) {
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("ns") == "evil.example" {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	}))
	mirror := Mirror{Host: "mirror.internal"}
	evil, good := c.atMirror(t, mirror, "evil.example/a:1"), c.atMirror(t, mirror, "ghcr.io/a:1")
	_, _ = c.Head(t.Context(), evil)
	for req, want := range map[*Request]bool{&evil: true, &good: false} {
		if _, got := c.noHead.Get(c.one(*req).routed()); got != want {
			t.Errorf("%v: not asked by HEAD: %t, want %t", req.Route, got, want)
		}
	}
	sibling, other := c.atMirror(t, mirror, "evil.example/a/b:1"), c.atMirror(t, mirror, "evil.example/b:1")
	for req, want := range map[*Request]bool{&sibling: true, &other: false} {
		if _, got := c.noHead.Get(c.one(*req).routed()); got != want {
			t.Errorf("%v: not asked by HEAD: %t, want %t", req.Ref, got, want)
		}
	}
	_, _ = c.Head(t.Context(), good)
	if n := c.limiters.known.Len(); n != 1 {
		t.Errorf("%d limiters, want one for the mirror's host", n)
	}
}
