// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// TestTags checks that explicit tags hide no image that kubectl reads.
func TestTags(t *testing.T) {
	const kindPod = "apiVersion: v1\nkind: Pod\n"
	const spec = "{containers: [{name: a, image: evil:1}]}\n"
	for _, text := range []string{
		kindPod + "spec: " + spec,
		kindPod + "!!merge spec: " + spec,
		kindPod + "!!binary c3BlYw==: " + spec,
		kindPod + "!<tag:yaml.org,2002:binary> c3BlYw==: " + spec,
		kindPod + "!!str spec: !!map " + spec,
		kindPod + "!local spec: !local " + spec,
		kindPod + "! 'spec': ! " + spec,
		kindPod + "! '<<': {spec: " + strings.TrimSpace(spec) + "}\n",
		kindPod + "&x ! '<<': {spec: " + strings.TrimSpace(spec) + "}\n",
		kindPod + "!<!> \"<<\": {spec: " + strings.TrimSpace(spec) + "}\n",
		kindPod + "!!merge '<<': {spec: " + strings.TrimSpace(spec) + "}\n",
		"apiVersion: v1\nkind: !!binary UG9k\nspec: " + spec,
		"apiVersion: v1\n!!binary a2luZA==: Pod\nspec: " + spec,
		kindPod + "spec: {containers: [{name: a, image: !!binary ZXZpbDox}]}\n",
		kindPod + "spec: {containers: [{name: a, image: !!binary 'ZXZpbDox'}]}\n",
		kindPod + "spec: {containers: [{name: a, image: !!merge evil:1}]}\n",
		kindPod + "spec: {containers: [{name: a, image: ! 'evil:1'}]}\n",
	} {
		if got := firstImage(t, text); got != "evil:1" {
			t.Fatalf("image of %q = %v for kubectl, want evil:1", text, got)
		}
		f := parse(t, "f.yaml", text)
		if len(f.Objects) != 1 || f.Objects[0].PodSpecs[0].References[0].Text != "evil:1" {
			t.Errorf("Parse(%q) has the objects %+v, want one with the image evil:1", text, f.Objects)
		}
	}
}

// TestEditBinary checks that a text in base64 is not replaced by one that is not.
func TestEditBinary(t *testing.T) {
	for _, image := range []string{"!!binary ZXZpbDox", `!!binary "ZXZpbDox"`} {
		f := parse(t, "f.yaml", pod+"spec:\n  containers:\n  - {name: a, image: "+image+"}\n")
		const want = "f.yaml:6: editing evil:1: it is written in base64 (!!binary); write it as a text"
		if got, err := f.Edit(edits(f)); err == nil || err.Error() != want {
			t.Errorf("Edit of %s = %s, %v, want %s", image, got, err, want)
		}
	}
}

// TestTagDirective checks that a directive that gives tags another meaning is refused, because
// kubectl drops one that is not at the beginning of the file.
func TestTagDirective(t *testing.T) {
	for _, end := range []string{"\n", "\u0085"} {
		text := pod + "...\n# c" + end + "%TAG ! tag:yaml.org,2002:\n---\n" + pod +
			"spec: {containers: [{name: a, image: !binary evil}]}\n"
		if got := firstImage(t, text); got != "evil" {
			t.Fatalf("image of %q = %v for kubectl, want evil", text, got)
		}
		const want = "a %TAG directive"
		if _, err := manifest.Parse("f.yaml", []byte(text), nil); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error with %q", text, err, want)
		}
	}
}

// TestEditBreaks checks the errors for edits that would change more than a reference. They say what
// to do instead.
func TestEditBreaks(t *testing.T) {
	const comment = `, or add the comment "# tagpin:ignore"`
	for _, tt := range []struct{ name, text, to, want string }{
		{
			"f.yaml", pod + "spec:\n  containers:\n  - {name: a, image: b}\n", "[",
			"f.yaml:6: editing this line would break the file; write the digest there by hand" + comment,
		},
		{
			"f.yaml", pod + "spec:\n  containers:\n  - {name: a, image: b}\n", "c, d: e",
			"f.yaml:6: editing the file would change the meaning of this line; write the digest there by " +
				"hand" + comment,
		},
		{
			"Dockerfile", "FROM a\n", "b\nFROM c",
			"Dockerfile:1: editing this line would change the meaning of the file; write the digest there " +
				"by hand" + comment,
		},
	} {
		f := parse(t, tt.name, tt.text)
		all := edits(f)
		all[0].Text = tt.to
		if got, err := f.Edit(all); err == nil || err.Error() != tt.want {
			t.Errorf("Edit to %q = %s, %v, want %s", tt.to, got, err, tt.want)
		}
	}
}
