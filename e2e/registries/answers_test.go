// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"errors"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// running is a registry of one kind, with its images, at one endpoint for each access.
type running struct {
	at      map[access]*endpoint
	digests map[string]digest.Digest // by tag
}

// push moves a tag, or makes it.
func (r *running) push(t testing.TB, tag string, of types.MediaType) digest.Digest {
	t.Helper()
	return push(t, r.at[plain].host.Name, tag, of)
}

// eachStore runs a test for each registry.
func eachStore(t *testing.T, test func(t *testing.T, r *running)) {
	t.Helper()
	for name, newStore := range stores {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			digests, plainly := fill(t, s)
			r := &running{at: map[access]*endpoint{plain: plainly}, digests: digests}
			for _, a := range accesses[1:] {
				r.at[a] = s.open(t, a)
			}
			test(t, r)
		})
	}
}

// eachAccess runs a test for each registry and access.
func eachAccess(t *testing.T, test func(t *testing.T, r *running, e *endpoint)) {
	t.Helper()
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range accesses {
			t.Run(string(a), func(t *testing.T) { test(t, r, r.at[a]) })
		}
	})
}

// TestNotFound asks for a tag and in a repository that there is not. Some registries hide by 404 what a credential may not
// see: nobody asks last.
func TestNotFound(t *testing.T) {
	wants := map[access]asked{
		plain:  {Manifests: []string{"HEAD 404", "GET 404"}},
		secure: {Manifests: []string{"HEAD 404", "GET 404"}},
		basic:  {Manifests: []string{"HEAD 401", "HEAD 404", "GET 404", "HEAD 401"}},
		bearer: {Manifests: []string{"HEAD 401", "HEAD 404", "GET 404", "HEAD 401"}, Tokens: []string{"200", "200"}},
	}
	eachAccess(t, func(t *testing.T, _ *running, e *endpoint) {
		c := e.client(t)
		c.wantError(t, "none", resolve.ErrNotFound, "404 Not Found", c.credentials()...)
		wantAsked(t, "tag", e, wants[e.access])
		c = e.client(t)
		c.wantError(t, "nobody/none:1", resolve.ErrNotFound, "404 Not Found", c.credentials()...)
	})
}

// TestUnauthorized asks private registries without a credential, with a wrong one, and with the right one after that.
func TestUnauthorized(t *testing.T) {
	const tag = "oci-index"
	tests := []struct {
		name          string
		credentials   []keychain.Credential
		accepted      bool
		basic, bearer asked
	}{
		{
			"none", nil, false,
			asked{Manifests: []string{"HEAD 401"}},
			asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}}, // nobody gets a token too
		},
		{
			"wrong",
			[]keychain.Credential{wrong()},
			false,
			asked{Manifests: []string{"HEAD 401", "HEAD 401", "HEAD 401"}}, // last as nobody
			asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"401", "200"}},
		},
		{
			"right after wrong",
			[]keychain.Credential{wrong(), right()},
			true,
			asked{Manifests: []string{"HEAD 401", "HEAD 401", "HEAD 200"}},
			asked{Manifests: []string{"HEAD 401", "HEAD 200"}, Tokens: []string{"401", "200"}},
		},
	}
	eachStore(t, func(t *testing.T, r *running) {
		for _, tt := range tests {
			for a, want := range map[access]asked{basic: tt.basic, bearer: tt.bearer} {
				t.Run(string(a)+"/"+tt.name, func(t *testing.T) {
					e := r.at[a]
					c := e.client(t)
					if tt.accepted {
						c.wantDigest(t, tag, r.digests[tag], tt.credentials...)
					} else {
						c.wantError(t, tag, resolve.ErrUnauthorized, ": 401 Unauthorized", tt.credentials...)
					}
					wantAsked(t, "cold", e, want)
					// What another got, and that a wrong one was shown, is nothing to the right one, nor that to nobody.
					c.wantDigest(t, tag, r.digests[tag], wrong(), right())
					c.wantError(t, tag, resolve.ErrUnauthorized, c.at+": 401 Unauthorized")
				})
			}
		}
	})
}

// TestWrongIsNotShownAgain spares a user whom a registry may lock out after a few failures.
func TestWrongIsNotShownAgain(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for a, nobody := range map[access]asked{
			basic:  {Manifests: []string{"HEAD 401"}},
			bearer: {Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}},
		} {
			e := r.at[a]
			c := e.client(t)
			c.wantError(t, "oci-index", resolve.ErrUnauthorized, ": 401 Unauthorized", wrong())
			e.asked()
			c.wantError(t, "oci-index", resolve.ErrUnauthorized, "this credential is not shown again for ", wrong())
			wantAsked(t, string(a), e, nobody)
		}
	})
}

// TestUnneeded shows a credential to an open registry, which does not ask for one: it is not sent.
func TestUnneeded(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range []access{plain, secure} {
			c := r.at[a].client(t)
			c.wantDigest(t, "oci-index", r.digests["oci-index"], wrong())
			wantAsked(t, string(a), r.at[a], asked{Manifests: []string{"HEAD 200"}})
		}
	})
}

// TestMoved moves a tag, also from an image to an index: who knew the old digest gets the new one.
func TestMoved(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		c := e.client(t)
		first := r.push(t, "moving", types.OCIManifestSchema1)
		c.want(t, "moving", first)
		second := r.push(t, "moving", types.OCIManifestSchema1)
		if first == second {
			t.Fatal("the tag was not moved")
		}
		c.want(t, "moving", second)
		c.want(t, "moving", r.push(t, "moving", types.DockerManifestList))
	})
}

// TestVerify asks by GET alone.
func TestVerify(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		for tag, want := range r.digests {
			host := e.host
			host.Verify = true
			c := e.clientOf(t, &registry.Client{Hosts: []registry.Host{host}})
			c.want(t, tag, want)
			first := asked{Manifests: []string{"GET 200"}}
			if e.access.private() {
				first.Manifests = []string{"GET 401", "GET 200"}
			}
			if e.access == bearer {
				first.Tokens = []string{"200"}
			}
			wantAsked(t, tag, e, first)
			c.want(t, tag, want)
			wantAsked(t, tag+" again", e, asked{Manifests: []string{"GET 200"}})
		}
	})
}

// TestByDigest gets manifests by their digests, those of an index's platforms too, and none by one that is not there.
func TestByDigest(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		c := e.client(t)
		for tag, d := range r.digests {
			m := c.wantManifest(t, d)
			if of := contents[tag]; m.MediaType != string(of) {
				t.Errorf("%s: the media type is %s, want %s", tag, m.MediaType, of)
			}
			if !m.IsIndex() {
				continue
			}
			index, err := v1.ParseIndexManifest(bytes.NewReader(m.Body))
			if err != nil || len(index.Manifests) != 2 {
				t.Fatalf("%s: the index is %v, %v, want two manifests", tag, index, err)
			}
			for _, platform := range index.Manifests {
				c.wantManifest(t, digest.Digest(platform.Digest.String()))
			}
		}
		if m, err := c.manifest(t, digest.FromString("nowhere")); m != nil || !errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("a digest that is not there: %v, %v, want not found", m, err)
		}
	})
}

func (c *client) manifest(t testing.TB, d digest.Digest) (*registry.Manifest, error) {
	t.Helper()
	m, err := c.direct.Manifest(t.Context(), c.request(repository+"@"+d.String(), c.credentials()))
	env.seen.err(err)
	return m, err
}

func (c *client) wantManifest(t testing.TB, d digest.Digest) *registry.Manifest {
	t.Helper()
	m, err := c.manifest(t, d)
	if err != nil {
		t.Fatal(err)
	}
	if got := digest.FromBytes(m.Body); got != d {
		t.Errorf("the manifest of %s has the digest %s", d, got)
	}
	return m
}
