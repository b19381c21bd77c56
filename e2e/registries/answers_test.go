// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry"
)

// running is a registry of one kind, with its images.
type running struct {
	store   store
	digests map[string]digest.Digest // by tag
	plainly *endpoint                // that images are pushed to
}

// push pushes a new image as a tag, which moves if it exists.
func (r *running) push(t testing.TB, tag string, of types.MediaType) digest.Digest {
	t.Helper()
	return r.plainly.push(t, tag, of)
}

// eachAccess runs a test for each registry and each of its accesses, or those of them that are
// given.
func eachAccess(
	t *testing.T, test func(t *testing.T, r *running, e *endpoint), only ...access,
) {
	t.Helper()
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			r := &running{store: k.newStore(t)}
			r.digests, r.plainly = fill(t, r.store)
			for _, a := range k.accesses {
				if len(only) > 0 && !slices.Contains(only, a) {
					continue
				}
				e := r.plainly
				if a != plain {
					e = r.store.open(t, a)
				}
				t.Run(string(a), func(t *testing.T) { test(t, r, e) })
			}
		})
	}
}

// TestNotFound looks up a missing tag, and a tag in a missing repository. Because some registries
// answer 404 for what a credential may not see, the last attempt is anonymous.
func TestNotFound(t *testing.T) {
	wants := map[access]asked{
		plain:  {Manifests: []string{"HEAD 404", "GET 404"}},
		secure: {Manifests: []string{"HEAD 404", "GET 404"}},
		public: {Manifests: []string{"HEAD 401", "HEAD 404", "GET 404"}, Tokens: []string{"200"}},
		basic:  {Manifests: []string{"HEAD 401", "HEAD 404", "GET 404", "HEAD 401"}},
		bearer: {Manifests: []string{"HEAD 401", "HEAD 404", "GET 404", "HEAD 401"}, Tokens: []string{"200", "200"}},
	}
	eachAccess(t, func(t *testing.T, _ *running, e *endpoint) {
		c := e.client(t)
		c.wantError(t, "none", failure.NotFound, "404 Not Found", c.credentials()...)
		wantAsked(t, "tag", e, wants[e.access])
		c = e.client(t)
		c.wantError(t, "nobody/none:1", failure.NotFound, "404 Not Found", c.credentials()...)
	})
}

// TestUnauthorized looks up an image of a private registry without a credential, with a wrong one,
// and with a right one after a wrong one.
func TestUnauthorized(t *testing.T) {
	const tag = "oci-index"
	tests := []struct {
		name          string
		credentials   func(c *client) []keychain.Credential
		accepted      bool
		basic, bearer asked
	}{
		{
			"none",
			func(*client) []keychain.Credential { return nil },
			false,
			asked{Manifests: []string{"HEAD 401"}},
			asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}}, // an anonymous token
		},
		{
			"wrong",
			func(c *client) []keychain.Credential { return []keychain.Credential{c.wrong()} },
			false,
			asked{Manifests: []string{"HEAD 401", "HEAD 401", "HEAD 401"}}, // the last one is anonymous
			asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"401", "200"}},
		},
		{
			"right after wrong",
			func(c *client) []keychain.Credential { return []keychain.Credential{c.wrong(), c.right()} },
			true,
			asked{Manifests: []string{"HEAD 401", "HEAD 401", "HEAD 200"}},
			asked{Manifests: []string{"HEAD 401", "HEAD 200"}, Tokens: []string{"401", "200"}},
		},
	}
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				want := tt.basic
				if e.access == bearer {
					want = tt.bearer
				}
				c := e.client(t)
				if tt.accepted {
					c.wantDigest(t, tag, r.digests[tag], tt.credentials(c)...)
				} else {
					c.wantError(t, tag, failure.Unauthorized, ": 401 Unauthorized", tt.credentials(c)...)
				}
				wantAsked(t, "first lookup", e, want)
				// The right credential works although a wrong one was tried, and an anonymous lookup fails
				// although the right credential worked.
				c.wantDigest(t, tag, r.digests[tag], c.wrong(), c.right())
				c.wantError(t, tag, failure.Unauthorized, c.at+": 401 Unauthorized")
			})
		}
	}, basic, bearer)
}

// TestWrongIsNotShownAgain sends a wrong password only once, because a registry may lock out a user
// after a few failures.
func TestWrongIsNotShownAgain(t *testing.T) {
	anonymous := map[access]asked{
		basic:  {Manifests: []string{"HEAD 401"}},
		bearer: {Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}},
	}
	eachAccess(t, func(t *testing.T, _ *running, e *endpoint) {
		c := e.client(t)
		c.wantError(t, "oci-index", failure.Unauthorized, ": 401 Unauthorized", c.wrong())
		e.asked()
		c.wantError(t, "oci-index", failure.Unauthorized, "this credential is not shown again for ", c.wrong())
		wantAsked(t, "again", e, anonymous[e.access])
	}, basic, bearer)
}

// TestUnneeded looks up an image with a credential at an open registry. Because the registry does
// not ask for it, the credential is not sent.
func TestUnneeded(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		c := e.client(t)
		c.wantDigest(t, "oci-index", r.digests["oci-index"], c.wrong())
		wantAsked(t, "lookup", e, asked{Manifests: []string{"HEAD 200"}})
	}, plain, secure)
}

// TestPublicDespiteWrong looks up a public image of a registry that wants a token, with a wrong
// credential. The realm refuses that, and gives a token to nobody in particular.
func TestPublicDespiteWrong(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		c := e.client(t)
		c.wantDigest(t, "oci-index", r.digests["oci-index"], c.wrong())
		wantAsked(t, "lookup", e, asked{Manifests: []string{"HEAD 401", "HEAD 200"}, Tokens: []string{"401", "200"}})
	}, public)
}

// TestMoved moves a tag, also from an image to an index. A client that knows the old digest gets
// the new one.
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

// TestVerify checks that only GET requests are made if the config says so.
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
			if e.access.tokens() {
				first.Manifests = []string{"GET 401", "GET 200"}
				first.Tokens = []string{"200"}
			}
			wantAsked(t, tag, e, first)
			c.want(t, tag, want)
			wantAsked(t, tag+" again", e, asked{Manifests: []string{"GET 200"}})
		}
	})
}

// TestByDigest gets manifests by digest, including those of an index's platforms, and fails for a
// digest that does not exist.
func TestByDigest(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		c := e.client(t)
		for tag, d := range r.digests {
			m := c.wantManifest(t, d)
			if of := contents[tag]; m.MediaType != string(of) {
				t.Errorf("media type of %s = %s, want %s", tag, m.MediaType, of)
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
		if m, err := c.manifest(t, digest.FromString("nowhere")); m != nil || !errors.Is(err, failure.NotFound) {
			t.Errorf("manifest of a missing digest = %v, %v, want not found", m, err)
		}
	})
}

func (c *client) manifest(t testing.TB, d digest.Digest) (*registry.Manifest, error) {
	t.Helper()
	r := c.request(c.repository+"@"+d.String(), c.credentials())
	m, err := c.direct.Manifest(t.Context(), registry.Request{
		Ref: r.Ref, Credentials: r.Credentials, Namespace: r.Namespace,
	})
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
