// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// testPushed pulls the image by its digest, and the SBOMs as referrers of the platforms' images.
func (b built) testPushed(t *testing.T, repo string) {
	ref, err := name.NewDigest(repo + "@" + b.digest)
	if err != nil {
		t.Fatal(err)
	}
	tagged, err := remote.Head(ref.Context().Tag("v1"))
	if err != nil {
		t.Fatal(err)
	}
	if tagged.Digest.String() != b.digest {
		t.Errorf("%s:v1 is %s, want %s", repo, tagged.Digest, b.digest)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, image := range m.Manifests {
		want, err := os.ReadFile(b.dir + ".linux-" + image.Platform.Architecture + sbomSuffix)
		if err != nil {
			t.Fatal(err)
		}
		got := referrer(t, ref.Context().Digest(image.Digest.String()))
		if !bytes.Equal(got, want) {
			t.Errorf("the referrer of %s/%s is not its SBOM: %.100q", repo, image.Platform, got)
		}
	}
}

// referrer returns the content of the only artifact that refers to an image.
func referrer(t *testing.T, ref name.Digest) []byte {
	t.Helper()
	index, err := remote.Referrers(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil || len(m.Manifests) != 1 {
		t.Fatalf("referrers of %s: %+v, want 1 (%v)", ref, m, err)
	}
	img, err := remote.Image(ref.Context().Digest(m.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.ArtifactType != sbomType || manifest.Subject.Digest.String() != ref.DigestStr() {
		t.Errorf("referrer of type %q of %s, want %q of %s",
			manifest.ArtifactType, manifest.Subject.Digest, sbomType, ref)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("blobs = %d, want 1 (%v)", len(layers), err)
	}
	blob, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = blob.Close() }()
	content, err := io.ReadAll(blob)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// randomRelease returns a release with a random image and no SBOMs.
func randomRelease(t *testing.T) release {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	return release{index: mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})}
}

// TestPushWithoutRetries checks that push does not retry requests.
func TestPushWithoutRetries(t *testing.T) {
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			return
		}
		requests.Add(1)
		http.Error(w, "down", http.StatusServiceUnavailable)
	}))
	t.Cleanup(s.Close)
	const blobs = 2 // the layer and the config, which are pushed in parallel
	err := randomRelease(t).push(t.Context(), s.Listener.Addr().String()+"/a:v1")
	if err == nil || requests.Load() > blobs {
		t.Errorf("push = %v after %d requests, want an error after %d", err, requests.Load(), blobs)
	}
}

func TestPushRefusesReferences(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for _, ref := range []string{"127.0.0.1:1/a", "127.0.0.1:1/a" + digest, "a:v1"} {
		err := randomRelease(t).push(t.Context(), ref)
		if err == nil || strings.Contains(err.Error(), "connect") {
			t.Errorf("push(%q) = %v, want an error about the reference", ref, err)
		}
	}
}

// pushBase pushes an index with an image for each platform. It returns a reference with the digest.
func pushBase(
	t *testing.T, tag string, platforms []v1.Platform, options ...remote.Option,
) string {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, p := range platforms {
		img, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture = p.OS, p.Architecture
		config.Config.Env, config.Config.Cmd = []string{"PATH=/bin", "BASE=yes"}, []string{"sh"}
		if img, err = mutate.ConfigFile(img, config); err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &p},
		})
	}
	ref, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index, options...); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return ref.Context().Name() + "@" + digest.String()
}
