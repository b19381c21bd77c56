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
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

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
		{name: "taken back", own: failure.NotFound, err: failure.NotFound},
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
