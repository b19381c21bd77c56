// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// TestNameClass checks that names of the same class are equal for Parse, and that others need not
// be.
func TestNameClass(t *testing.T) {
	classes := map[string][]string{
		"":              {"", "a.yaml", "b.json", "value.yaml", "c/values", "k/kustomize.yaml", "dockerfile.go"},
		"Values":        {"values.yaml", "a/values-b.yml", "c.Values.json"},
		"Kustomization": {"kustomization.yaml", "a/kustomization.yml", "Kustomization"},
		"Dockerfile":    {"Dockerfile", "a/b.containerfile"},
	}
	for class, names := range classes {
		for _, name := range names {
			if got := manifest.NameClass(name); got != class {
				t.Errorf("NameClass(%q) = %q, want %q", name, got, class)
			}
		}
	}
}

func TestWithout(t *testing.T) {
	data := pod + "spec: {containers: [{name: a, image: 'a:1'}]}\nb: {image: 'b:1'}\nc: {image: c}\n" +
		"d: {image: d} # tagpin:ignore\n"
	pods, values := parse(t, "a.yaml", data), parse(t, "values.yaml", data)
	rest := values.Without(pods)
	var got []string
	for _, e := range edits(rest) {
		got = append(got, e.Reference.Text)
	}
	if !slices.Equal(got, []string{"b:1"}) || len(rest.Left) != 1 || rest.Ignored != 1 {
		t.Errorf("Without = %q, %+v and %d ignored, want b:1, one that is left, and one that is ignored",
			got, rest.Left, rest.Ignored)
	}
	rest = values.Without(values)
	if len(rest.Objects) > 0 || len(rest.Left) > 0 || rest.Ignored > 0 {
		t.Errorf("Without itself = %+v, %+v, want nothing", rest.Objects, rest.Left)
	}
	left := &manifest.File{Left: []manifest.Left{{Line: 1, Text: "a", Reference: true}}}
	message := &manifest.File{Left: []manifest.Left{{Line: 1, Text: "a"}}}
	if diff := cmp.Diff(left, left.Without(message), cmpopts.IgnoreUnexported(manifest.File{})); diff != "" {
		t.Errorf("Without a message about the same text: -want +got\n%s", diff)
	}
	if got := message.Without(left); len(got.Left) > 0 {
		t.Errorf("message without the finding = %+v, want nothing", got.Left)
	}
}
