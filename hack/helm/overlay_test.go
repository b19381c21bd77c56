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

// TestImageOverlay checks that the overlay in upgrading.md sets the image in all three places: the
// container, its environment variable, and the annotation of the registration.
func TestImageOverlay(t *testing.T) {
	page, err := os.ReadFile("../../deploy/docs/upgrading.md")
	if err != nil {
		t.Fatal(err)
	}
	overlay := regexp.MustCompile("(?s)```yaml\n(images:.*?)```").FindSubmatch(page)
	if overlay == nil {
		t.Fatal("upgrading.md has no overlay with images")
	}
	files := filesys.MakeFsInMemory()
	base, err := filepath.Glob("../../deploy/kustomize/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range base {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := files.WriteFile("base/"+filepath.Base(file), text); err != nil {
			t.Fatal(err)
		}
	}
	text := "resources: [../base]\n" + string(overlay[1])
	if err := files.WriteFile("overlay/kustomization.yaml", []byte(text)); err != nil {
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
	for _, want := range []string{
		"image: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
		"value: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
		"tagpin.dev/image: ghcr.io/tagpin/tagpin-webhook:v1.2.3\n",
	} {
		if !strings.Contains(string(all), want) {
			t.Errorf("the objects of the overlay don't have %q", want)
		}
	}
	if strings.Contains(string(all), "tagpin-webhook:latest") {
		t.Error("the objects of the overlay still have the image of the base")
	}
}
