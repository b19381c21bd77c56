// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/registrytest"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// notToBeAsked is the error of a registry that the config names and whose address is not allowed.
var notToBeAsked = failure.New(failure.Invalid, registry.ErrAddress)

// mirrorsOf returns a client with mirrors of docker.io.
func mirrorsOf(verify bool, mirrors ...registry.Mirror) *registry.Client {
	return &registry.Client{Hosts: []registry.Host{{Name: "docker.io", Verify: verify, Mirrors: mirrors}}}
}

// TestMirrors checks which hosts are asked, in which order, and whose answer counts.
func TestMirrors(t *testing.T) {
	d1, d2 := resolvetest.Digest("1"), resolvetest.Digest("2")
	one, two := registry.Mirror{Host: "one.internal", Resolve: true}, registry.Mirror{Host: "two.internal:5000/hub", Resolve: true}
	const atOne, atTwo, own = "one.internal/library/nginx:1", "two.internal:5000/hub/library/nginx:1", "docker.io/library/nginx:1"
	for _, tt := range []struct {
		name    string
		image   string // default: nginx:1
		mirrors []registry.Mirror
		verify  bool
		answers map[string]digest.Digest
		fails   map[string]error
		want    digest.Digest
		class   error
		text    string
		asked   []string
	}{
		{name: "the first that has it", mirrors: []registry.Mirror{one, two}, answers: map[string]digest.Digest{atOne: d1, atTwo: d2}, want: d1, asked: []string{atOne}},
		{name: "the second", mirrors: []registry.Mirror{one, two}, answers: map[string]digest.Digest{atTwo: d2, own: d1}, want: d2, asked: []string{atOne, atTwo}},
		{name: "the registry itself", mirrors: []registry.Mirror{one}, answers: map[string]digest.Digest{own: d1}, want: d1, asked: []string{atOne, own}},
		{
			name: "none", mirrors: []registry.Mirror{one, two}, fails: map[string]error{atOne: failure.Unauthorized, own: failure.Unavailable}, class: failure.Unavailable,
			text: "mirrors: one.internal/library/nginx:1: unauthorized; two.internal:5000/hub/library/nginx:1: not found", asked: []string{atOne, atTwo, own},
		},
		{name: "only on the nodes, and down", mirrors: []registry.Mirror{one}, fails: map[string]error{atOne: failure.Unavailable, own: notToBeAsked}, class: failure.Unavailable},
		{name: "only on the nodes, and refused", mirrors: []registry.Mirror{one}, fails: map[string]error{atOne: failure.Unauthorized, own: notToBeAsked}, class: failure.Unauthorized},
		{name: "only on the nodes, and missing", mirrors: []registry.Mirror{one}, fails: map[string]error{own: notToBeAsked}, class: failure.NotFound},
		{name: "a mirror with a login is down", mirrors: []registry.Mirror{one, two}, fails: map[string]error{atTwo: failure.Unavailable, own: failure.Unauthorized}, class: failure.Unavailable},
		{name: "a login is missing", mirrors: []registry.Mirror{one}, fails: map[string]error{own: failure.Unauthorized}, class: failure.Unauthorized},
		{name: "not for tags", mirrors: []registry.Mirror{{Host: "one.internal"}}, answers: map[string]digest.Digest{atOne: d2, own: d1}, want: d1, asked: []string{own}},
		{name: "another registry", image: "ghcr.io/a/b:1", mirrors: []registry.Mirror{one}, answers: map[string]digest.Digest{"ghcr.io/a/b:1": d1}, want: d1, asked: []string{"ghcr.io/a/b:1"}},
		{name: "verified", verify: true, mirrors: []registry.Mirror{one}, answers: map[string]digest.Digest{atOne: d1, own: d1}, want: d1, asked: []string{atOne, own}},
		{
			name: "verified and other", verify: true, mirrors: []registry.Mirror{one}, answers: map[string]digest.Digest{atOne: d1, own: d2}, class: failure.Invalid,
			text: "docker.io: its mirror one.internal has another digest for the tag", asked: []string{atOne, own},
		},
		{name: "not to be verified", verify: true, mirrors: []registry.Mirror{one}, answers: map[string]digest.Digest{atOne: d1}, fails: map[string]error{own: failure.Unavailable}, class: failure.Unavailable, asked: []string{atOne, own}},
		{
			name: "too long for the mirror", image: strings.Repeat("a", 246) + ":1", mirrors: []registry.Mirror{two},
			class: failure.NotFound, text: "it can't have the repository",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &resolvetest.Fake{}
			for image, d := range tt.answers {
				f.Set(image, d)
			}
			for image, err := range tt.fails {
				f.Fail(image, err)
			}
			image := tt.image
			if image == "" {
				image = "nginx:1"
			}
			m := &resolve.Mirrors{Next: f, Client: mirrorsOf(tt.verify, tt.mirrors...)}
			got, err := m.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(image), Fresh: true})
			if got.Digest != tt.want || !errors.Is(err, tt.class) || tt.text != "" && (err == nil || !strings.Contains(err.Error(), tt.text)) {
				t.Errorf("Resolve = %v, %v, want %v, %v, %q", got, err, tt.want, tt.class, tt.text)
			}
			var asked []string
			for _, r := range f.Asked() {
				asked = append(asked, r.Ref.Canonical())
			}
			if diff := cmp.Diff(tt.asked, asked); diff != "" && tt.asked != nil {
				t.Errorf("asked -want +got\n%s", diff)
			}
		})
	}
}

// TestMirrorsStale checks that a mirror's stale answer counts only if the registry can't be
// reached.
func TestMirrorsStale(t *testing.T) {
	d1, d2 := resolvetest.Digest("1"), resolvetest.Digest("2")
	for _, tt := range []struct {
		name   string
		own    error
		want   digest.Digest
		err    error
		verify bool
	}{
		{name: "the registry's own", want: d2},
		{name: "the registry's own, and verified", want: d2, verify: true},
		{name: "nothing newer", own: failure.Unavailable, want: d1},
		{name: "no time to ask it", own: errors.Join(failure.Unavailable, registry.ErrNoAnswer), err: failure.Unavailable},
		{name: "no room to ask it", own: errors.Join(failure.Unavailable, registry.ErrOfNamespace), err: failure.Unavailable},
		{
			name: "limited for this namespace", want: d1,
			own: errors.Join(failure.Unavailable, registry.ErrOfNamespace, registry.ErrOutage),
		},
		{name: "taken back", own: failure.NotFound, err: failure.NotFound},
		{name: "only on the nodes", own: notToBeAsked, want: d1},
		{name: "an address that tenants must not know of", own: failure.New(failure.Unavailable, registry.ErrAddress), want: d1},
		{name: "only mirrors have a login", own: failure.Unauthorized, want: d1},
		{name: "verified and no login", own: failure.Unauthorized, err: failure.Unauthorized, verify: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
				switch {
				case req.Ref.Host() == "one.internal":
					return resolve.Result{Digest: d1, Cached: true, Stale: true}, nil
				case tt.own != nil:
					return resolve.Result{}, tt.own
				}
				return resolve.Result{Digest: d2}, nil
			})
			m := &resolve.Mirrors{Next: next, Client: mirrorsOf(tt.verify, registry.Mirror{Host: "one.internal", Resolve: true})}
			got, err := m.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("nginx:1")})
			if got.Digest != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Resolve = %v, %v, want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestNoAnswerOfAMirror checks that a failure says nothing to other callers if a mirror got no turn
// or no time, which counts beside whatever the other hosts say.
func TestNoAnswerOfAMirror(t *testing.T) {
	image := ref.MustParse("nginx:1")
	byDigest := ref.MustParse("nginx@" + resolvetest.Digest("1").String())
	for _, mark := range []error{registry.ErrOfNamespace, registry.ErrNoAnswer} {
		noTurn := errors.Join(failure.Unavailable, mark)
		for _, tt := range []struct {
			one, two, own error
			want          bool
		}{
			{noTurn, failure.NotFound, failure.NotFound, true},
			{failure.Unavailable, noTurn, failure.NotFound, true},
			{failure.Unavailable, noTurn, failure.Unauthorized, true},
			{noTurn, failure.NotFound, notToBeAsked, true},
			{failure.NotFound, failure.Unavailable, noTurn, true},
			{failure.Unavailable, failure.NotFound, failure.NotFound, false},
			{failure.Unavailable, failure.Unavailable, failure.Unauthorized, false},
		} {
			answers := map[string]error{"one.internal": tt.one, "two.internal": tt.two, "docker.io": tt.own}
			next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
				return resolve.Result{}, answers[req.Ref.Host()]
			})
			m := &resolve.Mirrors{Next: next, Client: mirrorsOf(false,
				registry.Mirror{Host: "one.internal", Resolve: true}, registry.Mirror{Host: "two.internal", Resolve: true})}
			_, err := m.Resolve(t.Context(), resolve.Request{Ref: image})
			served := m.Served(t.Context(), resolve.Request{Ref: byDigest})
			for what, err := range map[string]error{"Resolve": err, "Served": served} {
				if got := errors.Is(err, mark); got != tt.want {
					t.Errorf("%s with %v: %v, %q: %t, want %t", what, answers, err, mark, got, tt.want)
				}
			}
		}
	}
}

// TestMirrorsCompare checks that a mirror's digest must be the registry's if the settings say so,
// unless one of the two answers is older than the other.
func TestMirrorsCompare(t *testing.T) {
	d1, d2 := resolvetest.Digest("1"), resolvetest.Digest("2")
	for _, tt := range []struct {
		name        string
		mirror, own resolve.Result
		err         error
	}{
		{name: "the same", mirror: resolve.Result{Digest: d1}, own: resolve.Result{Digest: d1}},
		{
			name: "another", mirror: resolve.Result{Digest: d2}, own: resolve.Result{Digest: d1},
			err: failure.Invalid,
		},
		{
			name: "in an outage", mirror: resolve.Result{Digest: d2},
			own: resolve.Result{Digest: d1, Cached: true, Stale: true},
		},
		{
			name: "after a push", mirror: resolve.Result{Digest: d2},
			own: resolve.Result{Digest: d1, Cached: true},
		},
		{
			name: "before a push", mirror: resolve.Result{Digest: d2, Cached: true},
			own: resolve.Result{Digest: d1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
				if req.Ref.Host() == "one.internal" {
					return tt.mirror, nil
				}
				return tt.own, nil
			})
			mirror := registry.Mirror{Host: "one.internal", Resolve: true}
			m := &resolve.Mirrors{Next: next, Client: mirrorsOf(true, mirror)}
			got, err := m.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("nginx:1")})
			if !errors.Is(err, tt.err) || err == nil && got != tt.own {
				t.Errorf("Resolve = %v, %v, want %v, %v", got, err, tt.own, tt.err)
			}
		})
	}
}

// TestMirrorsShareTheTime checks that the registry has time for its answer though all mirrors hang.
func TestMirrorsShareTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := resolvetest.Digest("1")
		var asked []string
		next := resolve.Func(func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
			end, _ := ctx.Deadline()
			asked = append(asked, fmt.Sprint(req.Ref.Host(), " ", time.Until(end)))
			if req.Ref.Host() == "docker.io" {
				return resolve.Result{Digest: want}, nil
			}
			<-ctx.Done()
			return resolve.Result{}, resolve.Late(ctx, req.Ref)
		})
		m := &resolve.Mirrors{Next: next, Client: mirrorsOf(false,
			registry.Mirror{Host: "one.internal", Resolve: true}, registry.Mirror{Host: "two.internal", Resolve: true})}
		ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
		defer cancel()
		got, err := m.Resolve(ctx, resolve.Request{Ref: ref.MustParse("nginx:1")})
		if got.Digest != want || err != nil {
			t.Errorf("Resolve = %v, %v, want the registry's digest", got, err)
		}
		shares := []string{"one.internal 2s", "two.internal 2s", "docker.io 2s"}
		if diff := cmp.Diff(shares, asked); diff != "" {
			t.Errorf("time for each: -want +got\n%s", diff)
		}
	})
}

// TestMirrorsOverTheWire checks that a mirror gets its own credentials, that the registry is not
// asked, and that a mirror without Resolve is asked for digests.
func TestMirrorsOverTheWire(t *testing.T) {
	h, push := honest(t)
	want := push()
	var shown []string
	at, trusting := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth()
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		shown = append(shown, user)
		h.ServeHTTP(w, r)
	}))
	keys := keychain.Func(func(_ context.Context, r ref.Reference, _ bool) []keychain.Credential {
		return []keychain.Credential{{Auth: authn.AuthConfig{Username: "of " + r.Host(), Password: "canary"}}}
	})
	for _, byTag := range []bool{true, false} {
		shown = nil
		client := &registry.Client{
			Network: trusting.Network,
			Hosts:   []registry.Host{{Name: "source.invalid", Mirrors: []registry.Mirror{{Host: at, Resolve: byTag}}}},
		}
		t.Cleanup(client.Close)
		next := &resolve.Credentials{Next: &resolve.Registry{Client: client}}
		m := &resolve.Mirrors{Next: next, Client: client}
		tag := ref.MustParse("source.invalid/team/app:1")
		got, err := m.Resolve(t.Context(), resolve.Request{Ref: tag, Keychain: keys, Fresh: true})
		if byTag && (err != nil || got.Digest != want) || !byTag && err == nil {
			t.Errorf("Resolve = %v, %v, with the mirror asked for tags: %t", got, err, byTag)
		}
		found, err := m.Manifest(t.Context(), resolve.Request{Ref: tag.WithDigest(want), Keychain: keys})
		if err != nil || digest.FromBytes(found.Body) != want {
			t.Errorf("Manifest = %v, want that of %s", err, want)
		}
		if len(shown) == 0 || strings.Trim(strings.Join(shown, ""), "of "+at) != "" {
			t.Errorf("the mirror was shown %q", shown)
		}
	}
}

// TestMirrorCanary checks that a credential for a registry or its mirror is shown to no other host,
// wherever they send a lookup.
func TestMirrorCanary(t *testing.T) {
	keys := func(w *registrytest.World) keychain.Keychain {
		users := map[string]string{w.Host(own): "registry", w.Host(registrytest.Realm): "mirror"}
		return keychain.Func(func(_ context.Context, r ref.Reference, _ bool) []keychain.Credential {
			return []keychain.Credential{{Auth: registrytest.Credential(users[r.Host()])}}
		})
	}
	for name, send := range map[string]answer{
		"basic": registrytest.Denied, "own realm": registrytest.Challenged(`Bearer realm="https://{realm}/token"`),
		"the registry's realm":   registrytest.Challenged(`Bearer realm="https://{registry}/token"`),
		"another realm":          registrytest.Challenged(`Bearer realm="https://{other}/token"`),
		"a redirect":             registrytest.Redirect(http.StatusTemporaryRedirect, "https://{registry}/v2/app/manifests/1"),
		"a redirect to a third":  registrytest.Redirect(http.StatusTemporaryRedirect, "https://{other}/v2/app/manifests/1"),
		"a scope of another one": registrytest.Challenged(`Bearer realm="https://{registry}/token",scope="repository:x/app:pull"`),
	} {
		for _, m := range []registry.Mirror{{Host: "{realm}"}, {Host: "{realm}/hub"}, {Host: "{realm}/hub/v2", OverridePath: true}} {
			t.Run(name+" "+m.Host, func(t *testing.T) {
				w := registrytest.Start(t, rules{
					registrytest.Realm: {{On: "token", Then: registrytest.Token}, {As: "nobody", Then: send}, {Then: answer{Status: http.StatusForbidden}}},
					own:                {{On: "token", Then: registrytest.Token}, {As: "nobody", Then: send}, {As: "registry", Then: registrytest.Image}, {Then: registrytest.Denied}},
				})
				m.Host, m.Resolve = w.Expand(m.Host), true
				top := build(t, w.Client(registry.Host{Name: "*", Mirrors: []registry.Mirror{m}}))
				req := resolve.Request{Ref: ref.MustParse(w.Host(own) + "/app:1"), Keychain: keys(w), Namespace: "ns", Fresh: true}
				_, err := top.Resolve(t.Context(), req)
				silent(t, err)
				asked := w.Requests()
				for _, r := range asked {
					mirror := strings.HasPrefix(r, "realm: ")
					if mirror && strings.HasSuffix(r, " registry") || !mirror && strings.HasSuffix(r, " mirror") {
						t.Errorf("a credential of another host: %s", r)
					}
				}
				if len(asked) < 2 || !strings.HasPrefix(asked[0], "realm: HEAD") {
					t.Errorf("requests: %q, want the mirror to be asked first", asked)
				}
			})
		}
	}
}

// TestMirrorOfTwoRegistries checks that a mirror's answer for one registry is not remembered for
// the same path in another one, or in another API of the mirror.
func TestMirrorOfTwoRegistries(t *testing.T) {
	asked := 0
	at, client := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		if strings.HasPrefix(r.URL.Path, "/none/") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", registrytest.ImageType)
		w.Header().Set("Docker-Content-Digest", resolvetest.Digest(r.URL.String()).String())
	}))
	client.Hosts = []registry.Host{
		{Name: "*", Mirrors: []registry.Mirror{{Host: at, Resolve: true}}},
		{Name: "quay.io", Mirrors: []registry.Mirror{
			{Host: at + "/none", OverridePath: true, Resolve: true},
			{Host: at + "/api", OverridePath: true, Resolve: true},
		}},
	}
	top := build(t, client)
	for range 2 {
		for image, url := range map[string]string{
			"docker.io/team/app:1": "/v2/team/app/manifests/1?ns=docker.io",
			"ghcr.io/team/app:1":   "/v2/team/app/manifests/1?ns=ghcr.io",
			"quay.io/team/app:1":   "/api/team/app/manifests/1?ns=quay.io",
			at + "/team/app:1":     "/v2/team/app/manifests/1",
		} {
			got, err := top.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(image), Namespace: "ns"})
			if want := resolvetest.Digest(url); got.Digest != want || err != nil {
				t.Errorf("Resolve(%s) = %v, %v, want the answer to %s", image, got, err, url)
			}
		}
	}
	if asked != 5 {
		t.Errorf("%d requests, want one for each image, and one to the mirror that refuses", asked)
	}
}

// TestMirrorsRemembered checks that a registry that must not be asked leaves the word to its
// mirrors also while the cache remembers its error.
func TestMirrorsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := resolve.Func(func(_ context.Context, req resolve.Request) (resolve.Result, error) {
			if req.Ref.Host() == "one.internal" {
				return resolve.Result{}, failure.Unavailable
			}
			if err := req.Begin(); err != nil {
				t.Error(err)
			}
			return resolve.Result{}, notToBeAsked
		})
		client := mirrorsOf(false, registry.Mirror{Host: "one.internal", Resolve: true})
		answers := new(resolve.Answers)
		defer answers.Close()
		c := &resolve.Cache{
			Next: next, Answers: answers, Client: client,
			Limits: resolve.Limits{NegativeTTL: time.Minute},
		}
		m := &resolve.Mirrors{Next: c, Client: client}
		for i := range 2 {
			_, err := m.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("nginx:1")})
			if got := failure.Of(err); got != failure.Unavailable {
				t.Errorf("lookup %d: class %s, want that of the mirror: %v", i, got, err)
			}
		}
	})
}
