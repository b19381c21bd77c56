// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// TestBase lays binaries over an image of Docker's media types, whose environment stays and whose command does not.
func TestBase(t *testing.T) {
	arm := v1.Platform{OS: "linux", Architecture: "arm64"}
	ref := pushBase(t, newRegistry(t, true)+"/base:1", []v1.Platform{{OS: "linux", Architecture: "amd64"}, arm})
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
	if m.MediaType != types.OCIManifestSchema1 || m.Config.MediaType != types.OCIConfigJSON || len(m.Layers) != 2 {
		t.Errorf("manifest = %+v", m)
	}
	if got := m.Annotations["org.opencontainers.image.base.name"] + "@" + m.Annotations["org.opencontainers.image.base.digest"]; got != ref {
		t.Errorf("base = %s, want %s", got, ref)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	got := []any{config.Architecture, config.Config.Env, config.Config.Entrypoint, config.Config.Cmd, config.Config.User}
	want := []any{"arm64", []string{"PATH=/bin", "BASE=yes"}, []string{"/usr/local/bin/tagpin-webhook"}, []string(nil), "65532:65532"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if _, err := b.image(v1.Platform{OS: "linux", Architecture: "s390x"}); err == nil {
		t.Error("there is a base for s390x, want an error")
	}
}

func TestOpenBaseWantsADigest(t *testing.T) {
	for _, ref := range []string{"", "gcr.io/distroless/static", "gcr.io/distroless/static:nonroot", "a@sha256:1"} {
		if _, err := openBase(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "--base") {
			t.Errorf("openBase(%q) = %v, want an error of --base", ref, err)
		}
	}
}
