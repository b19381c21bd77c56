// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestBase builds an image on a base with Docker's media types. The image must keep the environment
// of the base, but not its command.
func TestBase(t *testing.T) {
	amd := v1.Platform{OS: "linux", Architecture: "amd64"}
	arm := v1.Platform{OS: "linux", Architecture: "arm64"}
	ref := pushBase(t, newRegistry(t, true)+"/base:1", []v1.Platform{amd, arm})
	b, err := openBase(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	img, err := newImage(arm, []binary{{"tagpin-webhook", []byte("#!")}}, b, source{version: version})
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON ||
		len(m.Layers) != 2 {
		t.Errorf("manifest = %+v, want OCI media types and two layers", m)
	}
	const prefix = "org.opencontainers.image.base."
	got := m.Annotations[prefix+"name"] + "@" + m.Annotations[prefix+"digest"]
	if got != ref {
		t.Errorf("base in the annotations = %s, want %s", got, ref)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Env: []string{"PATH=/bin", "BASE=yes"}, Entrypoint: []string{"/usr/local/bin/tagpin-webhook"},
		User: "65532:65532", Labels: m.Annotations,
	}
	if diff := cmp.Diff(want, config.Config); diff != "" || config.Architecture != "arm64" {
		t.Errorf("config for %s (-want +got):\n%s", config.Architecture, diff)
	}
	if _, err := b.image(v1.Platform{OS: "linux", Architecture: "s390x"}); err == nil {
		t.Error("found a base for s390x, want an error")
	}
}

func TestOpenBaseRequiresADigest(t *testing.T) {
	const static = "gcr.io/distroless/static"
	for _, ref := range []string{"", static, static + ":nonroot", "a@sha256:1"} {
		_, err := openBase(t.Context(), ref)
		if err == nil || !strings.Contains(err.Error(), "--base") {
			t.Errorf("openBase(%q) = %v, want an error about --base", ref, err)
		}
	}
}
