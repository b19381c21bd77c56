// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// overlay returns the objects of an overlay over deploy/kustomize. The overlay is the first match
// of a pattern in a page.
func overlay(t *testing.T, page, pattern string, edit func(text string) string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(pattern).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s has no overlay like %s", page, pattern)
	}
	files := filesys.MakeFsInMemory()
	base, err := filepath.Glob(filepath.Join(kustomizeDir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range base {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.WriteFile("overlay/deploy/kustomize/"+filepath.Base(file), text); err != nil {
			t.Fatal(err)
		}
	}
	err = files.WriteFile("overlay/kustomization.yaml", []byte(edit(string(found[1]))))
	if err != nil {
		t.Fatal(err)
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "overlay")
	if err != nil {
		t.Fatal(err)
	}
	all, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// TestImageOverlay checks that the overlay in upgrading.md sets the image in all three places: the
// container, its environment variable, and the annotation of the registration.
func TestImageOverlay(t *testing.T) {
	all := overlay(t, "../../deploy/docs/upgrading.md", "(?s)```yaml\n(images:.*?)```",
		func(text string) string { return "resources: [deploy/kustomize]\n" + text })
	for _, want := range []string{
		"image: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
		"value: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
		"tagpin.dev/image: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("the objects of the overlay don't have %q", want)
		}
	}
	if strings.Contains(all, "tagpin-webhook:"+overlayTag) {
		t.Error("the objects of the overlay still have the image of the base")
	}
}

// TestInstallOverlay checks that the overlay in README.md sets the image of the container, and
// leaves all objects in their namespace.
func TestInstallOverlay(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	all := overlay(t, "../../deploy/README.md", "(?s)```yaml\n([^`]*?kind: Kustomization\n.*?)```",
		func(text string) string { return strings.Replace(text, "sha256:…", digest, 1) })
	if want := "image: registry.example.com/tagpin-webhook@" + digest + "\n"; !strings.Contains(all, want) {
		t.Errorf("the objects of the overlay don't have %q", want)
	}
	for _, want := range []string{"kind: MutatingWebhookConfiguration\n", "namespace: " + namespace + "\n"} {
		if !strings.Contains(all, want) {
			t.Errorf("the objects of the overlay don't have %q", want)
		}
	}
}
