// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// TestPinnedTexts checks that a patch that is a text has a message only if one of its images may
// have no digest. D stands for a digest.
func TestPinnedTexts(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		left       int
	}{
		{"pinned", "image: nginx:1@D", 0},
		{"tagged", "image: nginx:1", 1},
		{"pinned without a tag", "image: nginx@D", 0},
		{"one of two is pinned", "spec: {containers: [{image: 'a@D'}, {image: b}]}", 1},
		{"all are pinned", "spec: {containers: [{image: 'a@D'}, {image: 'b:1@D'}]}", 0},
		{"a digest in a comment", "image: a # @D", 1},
		{"a comment", "image: a@D # b\n#image: b", 0},
		{"second document", "image: a@D\n---\nimage: b", 1},
		{"volume", "volumes: [{image: {reference: 'a@D'}}, {image: {reference: 'b@D'}}]", 0},
		{"volume with a tag", "volumes: [{image: {reference: 'a:1'}}]", 1},
		{"parts", "image: {repository: a, digest: 'D'}", 1},
		{"JSON patch", "- {op: add, path: /spec/image, value: 'a@D'}", 0},
		{"JSON patch in JSON", `[{"op": "replace", "path": "/a/image", "value": "a:1@D"}]`, 0},
		{"JSON patch with a tag", "- {op: add, path: /spec/image, value: 'a:1'}", 1},
		{"JSON patch without a value", "- {op: add, path: /spec/image}", 1},
		{"JSON patch with two values", "- {op: add, path: /spec/image, value: 'a@D', value: a}", 1},
		{"JSON patch with another digest", "- {op: add, path: /a, value: 'a@D'}\n" +
			"- {op: add, path: /spec/image, value: 'a:1'}", 1},
		{"JSON patch with a container", "- {op: add, path: /spec/containers/-, value: {image: 'a@D'}}", 0},
		{
			"JSON patch with a tag in a container",
			"- {op: add, path: /spec/containers/-, value: {image: a}}", 1,
		},
		{"JSON patch that removes", "- {op: remove, path: /spec/image}", 0},
		{"JSON patch that copies", "- {op: copy, from: /a, path: /spec/image}", 1},
		{"text in a text", "data: {a: 'image: b'}", 1},
		{"template", "{{ if .a }}\nimage: a@D\n{{ end }}", 1},
		{"alias", "a: &a {image: 'a@D'}\nb: [*a, *a]", 0},
		{"alias with a tag", "a: &a a:1\nimage: *a", 1},
		{"merge", "a: &a {image: 'a:1'}\nb: {<<: *a}", 1},
		{"aliases of aliases", "image: a@D\n" + nested(), 0},
	} {
		text := strings.ReplaceAll(tt.text, "D", pinned.String())
		file := "patches:\n- patch: |\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
		f, err := manifest.Parse("kustomization.yaml", []byte(file), nil)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if len(f.Left) != tt.left {
			t.Errorf("%s: Left of %q = %+v, want %d", tt.name, text, f.Left, tt.left)
		}
	}
}

// nested returns lists of which each has the one before twice, by aliases.
func nested() string {
	var b strings.Builder
	b.WriteString("a: &a [x]\n")
	for name := 'a'; name < 'a'+25; name++ {
		next, before := string(name+1), string(name)
		b.WriteString(next + ": &" + next + " [*" + before + ", *" + before + "]\n")
	}
	return b.String()
}
