// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tagpin/tagpin/pkg/image"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// serve starts a registry, and returns its host and a reader of it. answer may answer a request in
// its place.
func serve(t *testing.T, answer func(http.ResponseWriter, *http.Request) bool) (
	host string, r *image.Reader,
) {
	t.Helper()
	inner := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)), ggcr.WithReferrersSupport(true))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer == nil || !answer(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	host = strings.TrimPrefix(s.URL, "http://")
	c := &registry.Client{
		Network: network.Network{Rules: network.Rules{
			Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}},
		ExplainAll: true,
		Hosts: []registry.Host{
			{Name: host, Insecure: true, RequestsPerSecond: 1e6, MaxInFlight: 100},
		},
	}
	t.Cleanup(c.Close)
	mirrors := &resolve.Mirrors{Next: &resolve.Registry{Client: c}, Client: c}
	return host, &image.Reader{Mirrors: mirrors, Resolver: mirrors}
}

func push(t *testing.T, to string, what remote.Taggable) {
	t.Helper()
	tag, err := name.NewTag(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Push(tag, what); err != nil {
		t.Fatal(err)
	}
}

func tree(t *testing.T, r *image.Reader, text string) *image.Tree {
	t.Helper()
	root, err := r.Open(t.Context(), ref.MustParse(text), image.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	found, err := r.Tree(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	i, err := random.Image(16, 2)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// TestAsCrane checks that an image is read as crane reads it: digest, manifest, config and tags.
func TestAsCrane(t *testing.T) {
	host, r := serve(t, nil)
	index, err := random.Index(16, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	push(t, host+"/a:1", index)
	push(t, host+"/a:2", index)
	push(t, host+"/a:3", randomImage(t))
	for _, tag := range []string{"1", "3"} {
		text := host + "/a:" + tag
		root, err := r.Open(t.Context(), ref.MustParse(text), image.Platform{})
		if err != nil {
			t.Fatal(err)
		}
		want, err := crane.Digest(text)
		if got := root.Ref.Digest().String(); err != nil || got != want {
			t.Errorf("digest of %s = %s, want %s, %v", text, got, want, err)
		}
		manifest, err := crane.Manifest(text)
		if diff := cmp.Diff(string(manifest), string(root.Body)); err != nil || diff != "" {
			t.Errorf("manifest of %s: %v, -crane +tagpin\n%s", text, err, diff)
		}
	}
	root, err := r.Open(t.Context(), ref.MustParse(host+"/a:3"), image.Platform{})
	if err != nil {
		t.Fatal(err)
	}
	config, err := r.ConfigBytes(t.Context(), root.Ref, root.Config())
	if err != nil {
		t.Fatal(err)
	}
	want, err := crane.Config(host + "/a:3")
	if diff := cmp.Diff(string(want), string(config)); err != nil || diff != "" {
		t.Errorf("config: %v, -crane +tagpin\n%s", err, diff)
	}
	// crane has no command for the tags of a digest.
	var same []string
	all, err := crane.ListTags(host + "/a")
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := crane.Digest(host + "/a:1")
	for _, tag := range all {
		if d, _ := crane.Digest(host + "/a:" + tag); d == digest {
			same = append(same, tag)
		}
	}
	tags, err := r.Tags(t.Context(), ref.MustParse(host+"/a@"+digest), 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(same, tags.Tags); diff != "" {
		t.Errorf("tags: -crane +tagpin\n%s", diff)
	}
}

// TestAttestationIsNotChosen checks that the image for a platform is never an attestation, even if
// the index says that it has the platform.
func TestAttestationIsNotChosen(t *testing.T) {
	host, r := serve(t, nil)
	wanted := randomImage(t)
	amd64 := &v1.Platform{OS: "linux", Architecture: "amd64"}
	push(t, host+"/a:1", mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: randomImage(t), Descriptor: v1.Descriptor{
			Platform:    amd64,
			Annotations: map[string]string{registry.ReferenceType: "attestation-manifest"},
		}},
		mutate.IndexAddendum{Add: wanted, Descriptor: v1.Descriptor{Platform: amd64}},
	))
	p, err := image.ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	want, err := wanted.Digest()
	if err != nil {
		t.Fatal(err)
	}
	got, chosen, err := r.DigestFor(t.Context(), ref.MustParse(host+"/a:1"), p)
	if got.String() != want.String() || !chosen || err != nil {
		t.Errorf("DigestFor = %s, %t, %v, want %s, true", got, chosen, err, want)
	}
}

// TestPlatformIsChosenAsByRuntimes checks that a manifest for a lower variant is chosen if there is
// none for the one that is asked for, as containerd does, and that the best one is chosen, wherever
// it stands in the index.
func TestPlatformIsChosenAsByRuntimes(t *testing.T) {
	host, r := serve(t, nil)
	for n, tt := range []struct {
		asked string
		index []string
		want  string // "" if none is chosen
	}{
		{"linux/arm/v7", []string{"linux/amd64", "linux/arm/v6"}, "linux/arm/v6"},
		{"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6"}, "linux/arm/v6"},
		{"linux/arm/v7", []string{"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v7"},
		{"linux/arm/v6", []string{"linux/arm/v7"}, ""},
		{"linux/amd64/v3", []string{"linux/amd64"}, "linux/amd64"},
		{"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, "linux/amd64/v2"},
		{"linux/amd64", []string{"linux/amd64/v3"}, ""},
		{"linux/amd64", []string{"linux/386", "linux/amd64"}, "linux/amd64"},
		{"linux/arm64", []string{"linux/arm/v7", "linux/arm64/v8"}, "linux/arm64/v8"},
		{"linux/arm64", []string{"linux/arm/v6", "linux/arm/v7"}, "linux/arm/v7"},
		{"linux/arm64/v10", []string{"linux/arm64", "linux/arm64/v10"}, "linux/arm64/v10"},
		{"windows/amd64", []string{"linux/amd64"}, ""},
	} {
		var index v1.ImageIndex = empty.Index
		want := ""
		for _, text := range tt.index {
			platform, err := v1.ParsePlatform(text)
			if err != nil {
				t.Fatal(err)
			}
			one := randomImage(t)
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add: one, Descriptor: v1.Descriptor{Platform: platform},
			})
			if d, err := one.Digest(); err != nil {
				t.Fatal(err)
			} else if text == tt.want {
				want = d.String()
			}
		}
		tag := fmt.Sprintf("%s/a:%d", host, n)
		push(t, tag, index)
		p, err := image.ParsePlatform(tt.asked)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := r.DigestFor(t.Context(), ref.MustParse(tag), p)
		if got.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s in an index of %q: DigestFor = %s, %v, want that of %q (%s)",
				tt.asked, tt.index, got, err, tt.want, want)
		}
	}
}

// TestTreeIsBounded checks that deep and huge indexes are cut, and that the tree says where.
func TestTreeIsBounded(t *testing.T) {
	var manifests atomic.Int64
	host, r := serve(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			manifests.Add(1)
		}
		return false
	})
	deep := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: randomImage(t)})
	for range image.MaxDepth + 1 {
		deep = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: deep})
	}
	push(t, host+"/deep:1", deep)
	m := tree(t, r, host+"/deep:1").Manifest
	for range image.MaxDepth + 1 {
		m = m.Manifests[0]
	}
	if m.Kind != image.Index || len(m.Manifests) != 0 || !strings.Contains(m.Note, "below 4 indexes") {
		t.Errorf("deepest manifest = %+v, want an index that was not opened", m)
	}

	one := randomImage(t)
	var wide v1.ImageIndex = empty.Index
	for n := range image.MaxOpened + 10 {
		wide = mutate.AppendManifests(wide, mutate.IndexAddendum{Add: one, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: fmt.Sprintf("a%d", n)},
		}})
	}
	push(t, host+"/wide:1", wide)
	manifests.Store(0)
	found := tree(t, r, host+"/wide:1")
	if n := manifests.Load(); n != image.MaxOpened+1 {
		t.Errorf("%d manifests were read, want %d and the index", n, image.MaxOpened)
	}
	last := found.Manifests[len(found.Manifests)-1]
	if len(found.Manifests) != image.MaxOpened+10 || !strings.Contains(last.Note, "64 manifests were") {
		t.Errorf("%d manifests, the last one with %q, want all, and a note",
			len(found.Manifests), last.Note)
	}
}

// TestTreeOfOddIndexes checks what stands for manifests that can't be opened.
func TestTreeOfOddIndexes(t *testing.T) {
	const digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for what, tt := range map[string]struct {
		descriptor    string
		kind          image.Kind
		note, problem string
	}{
		"missing":   {`{"mediaType":"` + string(types.OCIManifestSchema1) + `","digest":"` + digest + `","size":9}`, image.Image, "", "404 Not Found"},
		"no digest": {`{"mediaType":"` + string(types.OCIManifestSchema1) + `","digest":"x","size":9}`, image.Image, "", "no valid digest"},
		"schema 1":  {`{"mediaType":"` + string(types.DockerManifestSchema1Signed) + `","digest":"` + digest + `","size":9}`, image.Other, "schema 1", ""},
		"unknown":   {`{"mediaType":"a/b","digest":"` + digest + `","size":9}`, image.Other, "does not know its media type", ""},
		"no type":   {`{"digest":"` + digest + `","size":-1}`, image.Other, "does not know its media type", ""},
	} {
		t.Run(what, func(t *testing.T) {
			host, r := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/manifests/odd") && strings.Contains(r.URL.Path, digest) {
					return false
				}
				w.Header().Set("Content-Type", string(types.OCIImageIndex))
				_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[%s]}`, tt.descriptor)
				return true
			})
			found := tree(t, r, host+"/a:odd")
			m := found.Manifests[0]
			if m.Kind != tt.kind || !strings.Contains(m.Note, tt.note) ||
				!strings.Contains(m.Problem, tt.problem) {
				t.Errorf("manifest = %+v, want %s with note %q and problem %q", m, tt.kind, tt.note, tt.problem)
			}
			if problems := found.Problems(); (len(problems) > 0) != (tt.problem != "") {
				t.Errorf("Problems = %q, want them if there is a problem", problems)
			}
		})
	}
}

// TestAttachmentsUnread checks that attachments that can't be looked up are not taken for none.
func TestAttachmentsUnread(t *testing.T) {
	host, r := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, ".att") || strings.Contains(r.URL.Path, "/referrers/") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	push(t, host+"/a:1", randomImage(t))
	found := tree(t, r, host+"/a:1")
	if len(found.Unread) != 2 || !strings.HasPrefix(found.Unread[0], "referrers: ") ||
		!strings.HasPrefix(found.Unread[1], "cosign attestations: ") {
		t.Errorf("Unread = %q, want the referrers and the attestations", found.Unread)
	}
}

// TestTagsThatFail checks that tags that can't be looked up are named, and that the others count.
func TestTagsThatFail(t *testing.T) {
	var pushed atomic.Bool
	host, r := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		failing := pushed.Load() && strings.HasSuffix(r.URL.Path, "/manifests/2")
		if failing {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return failing
	})
	i := randomImage(t)
	for _, tag := range []string{"1", "3", "2"} {
		push(t, host+"/a:"+tag, i)
	}
	pushed.Store(true)
	d, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	got, err := r.Tags(t.Context(), ref.MustParse(host+"/a@"+d.String()), 100,
		func(int, int) { calls.Add(1) })
	if err != nil || !slices.Equal(got.Tags, []string{"1", "3"}) || calls.Load() != 3 ||
		len(got.Unread) != 1 || !strings.HasPrefix(got.Unread[0], "2: ") {
		t.Errorf("Tags = %+v, %v with %d calls of progress, want 1 and 3, 2 unread, and 3 calls", got, err, calls.Load())
	}
}
