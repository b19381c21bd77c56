// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"bytes"
	"errors"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

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

func TestNotFound(t *testing.T) {
	eachAccess(t, func(t *testing.T, _ *running, e *endpoint) {
		for what, reference := range map[string]string{"tag": "none", "repository": "nobody/none:1"} {
			t.Run(what, func(t *testing.T) {
				c := e.client(t)
				c.wantError(t, reference, resolve.ErrNotFound, "404 Not Found", c.credentials()...)
			})
		}
	})
}

// TestUnauthorized asks private registries without a credential, with a wrong one, and with the right one after that.
func TestUnauthorized(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range []access{basic, bearer} {
			e := r.at[a]
			t.Run(string(a), func(t *testing.T) {
				const tag = "oci-index"
				c := e.client(t)
				c.wantError(t, tag, resolve.ErrUnauthorized, "401 Unauthorized")
				c.wantError(t, tag, resolve.ErrUnauthorized, "401 Unauthorized", wrong())
				c.wantError(t, "none", resolve.ErrUnauthorized, "401 Unauthorized")
				if got, err := c.resolve(t, tag, wrong(), right()); err != nil || got != r.digests[tag] {
					t.Errorf("the right credential after a wrong one: %v, %v, want %v", got, err, r.digests[tag])
				}
				// What the right one got is not for others.
				c.wantError(t, tag, resolve.ErrUnauthorized, "401 Unauthorized")
				fresh := e.client(t)
				if got, err := fresh.resolve(t, tag, wrong(), right()); err != nil || got != r.digests[tag] {
					t.Errorf("nothing known, the right credential after a wrong one: %v, %v, want %v", got, err, r.digests[tag])
				}
			})
		}
	})
}

// TestUnneeded shows a credential to an open registry, which does not ask for one: it is not sent.
func TestUnneeded(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range []access{plain, secure} {
			c := r.at[a].client(t)
			if got, err := c.resolve(t, "oci-index", wrong()); err != nil || got != r.digests["oci-index"] {
				t.Errorf("%s: Resolve = %v, %v, want %v", a, got, err, r.digests["oci-index"])
			}
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
