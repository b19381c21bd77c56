// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// firstImage returns the image of the first container of a Pod that kubectl reads.
func firstImage(t *testing.T, text string) any {
	t.Helper()
	var found any
	for _, object := range kubectl(t, text) {
		if spec, ok := object.(map[string]any)["spec"].(map[string]any); ok {
			found = spec["containers"].([]any)[0].(map[string]any)["image"]
		}
	}
	return found
}

// TestMergeKeys checks that the image of a container with merge keys is the one that kubectl takes.
func TestMergeKeys(t *testing.T) {
	const anchors = pod + "x: [&b {name: b}, &p {image: 'p:1'}, &e {image: 'e:1'}, " +
		"&pb {<<: *p, x: 1}, &pc {<<: *p, y: 1}, &late {image: 'p:1', <<: *e}, " +
		"&twice {image: 'p:1', image: 'e:1'}]\n"
	for container, want := range map[string]string{
		"{<<: *e, name: a, image: 'p:1'}":          "p:1",
		"{name: a, <<: *e, image: 'p:1'}":          "p:1",
		"{<<: *e, <<: *p, name: a, image: 'q:1'}":  "q:1",
		"{name: a, <<: [*p, *e]}":                  "p:1",
		"{name: a, <<: [*p, *b]}":                  "p:1", // the name is not an image
		"{name: a, image: 'p:1', <<: *b}":          "p:1",
		"{name: a, <<: *pb, <<: *pc}":              "p:1", // both have the same text
		"{name: a, <<: *late, image: 'p:1'}":       "p:1",
		"{name: a, image: 'p:1', '<<': *e}":        "p:1", // no merge key
		"{name: a, image: 'p:1', !!str <<: *e}":    "p:1",
		"{name: a, image: 'p:1', &x <<: *b}":       "p:1",
		"{name: a, <<: [*p, *late]}":               "p:1",
		"{name: a, <<: [*p], resources: {<<: *b}}": "p:1",
	} {
		text := anchors + "spec:\n  containers:\n  - " + container + "\n"
		f := parse(t, "f.yaml", text)
		got := f.Objects[0].PodSpecs[0].References[0].Text
		if kubectl := firstImage(t, text); got != want || kubectl != want {
			t.Errorf("image of %s = %s, and %v for kubectl, want %s", container, got, kubectl, want)
		}
	}
	for _, container := range []string{
		"{name: a, image: 'p:1', ! '<<': *e}",
		"{name: a, image: 'p:1', !<!> '<<': *e}",
		"{name: a, image: 'p:1', !<%21> \"<<\": *e}",
		"{name: a, image: 'p:1', &k !<%21> \"<<\": *e}",
		"{name: a, image: 'p:1', ? !\u2028\"<<\" : *e}",
		"{name: a, image: 'p:1', <<: *e}",
		"{name: a, image: 'p:1', <<: [*b, *e]}",
		"{name: a, <<: *p, <<: *e}",
		"{name: a, <<: *late}",
		"{name: a, <<: *twice}",
	} {
		text := anchors + "spec:\n  containers:\n  - " + container + "\n"
		_, err := manifest.Parse("f.yaml", []byte(text), nil)
		const want = `f.yaml:7: duplicate key "image" in a mapping: a merge key repeats it; ` +
			"write the key after the merge keys"
		if !errors.Is(err, manifest.ErrDuplicateKey) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("Parse of a Pod with %s = %v, want %s", container, err, want)
		}
		if image := firstImage(t, text); image != "e:1" {
			t.Errorf("image of %s = %v for kubectl, want e:1", container, image)
		}
	}
}

// TestMergeKeyWithoutImage checks that a merge key is an error if only its value has an image.
func TestMergeKeyWithoutImage(t *testing.T) {
	const merged = "<<: {spec: {containers: [{name: a, image: b}]}}\n"
	for _, text := range []string{
		pod + "spec: {}\n" + merged,
		"x: &x {kind: Pod}\napiVersion: v1\nkind: ConfigMap\n<<: *x\nspec: {containers: [{image: a}]}\n",
		"apiVersion: v1\nkind: List\nitems: []\n<<: {items: [{apiVersion: v1, kind: Pod}]}\n",
		"apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nspec: {}\n" +
			"<<: {spec: {values: {image: 'a:1'}}}\n",
		"apiVersion: a.io/v1\nkind: A\nspec: {}\n" + merged,
	} {
		_, err := manifest.Parse("f.yaml", []byte(text), nil)
		if !errors.Is(err, manifest.ErrDuplicateKey) {
			t.Errorf("Parse(%q) = %v, want ErrDuplicateKey", text, err)
		}
	}
}

// TestMergeKeysOfCompose checks that the order of merge keys does not matter in a compose file,
// whose parser always lets a mapping's own pairs take precedence.
func TestMergeKeysOfCompose(t *testing.T) {
	f := parse(t, "compose.yaml", "x-a: &a {image: 'a:1'}\n"+
		"services:\n  a: {image: 'b:1', <<: *a}\n  b: {<<: *a}\n")
	var got []string
	for _, r := range f.Objects[0].PodSpecs[0].References {
		got = append(got, r.Text)
	}
	if diff := cmp.Diff("b:1 a:1", strings.Join(got, " ")); diff != "" {
		t.Errorf("references: -want +got\n%s", diff)
	}
}
