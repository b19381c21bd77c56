// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// kubectl returns the objects that kubectl reads from a stream.
func kubectl(t *testing.T, stream string) []any {
	t.Helper()
	var objects []any
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(stream), 4096)
	for {
		var object any
		err := d.Decode(&object)
		if err == io.EOF { //nolint:errorlint // Decode does not wrap it
			return objects
		}
		if err != nil {
			t.Fatalf("kubectl can't read %q: %v", stream, err)
		}
		if object != nil {
			objects = append(objects, object)
		}
	}
}

func TestCandidate(t *testing.T) {
	for name, want := range map[string]bool{
		"a.yaml": true, "a/Kustomization": true, "a/Dockerfile": true, "a/dockerfile.dev": true,
		"a/dockerfile.go": false, "a/dockerfile/a.go": false, "a/Dockerfile.md": false, "a.go": false,
	} {
		if got := manifest.Candidate(name); got != want {
			t.Errorf("Candidate(%q) = %t, want %t", name, got, want)
		}
	}
}

// TestPart joins each pair of files. kubectl must read the same objects as from the files alone.
func TestPart(t *testing.T) {
	files := map[string]string{
		"plain":          "a: 1\n",
		"no end of line": "a: [1]",
		"separator":      "---\na: 2\n",
		"comment":        "# head\n\n---\na: 3\n---\nb: |\n  ---\n  c\n",
		"end":            "a: 4\n...\n",
		"mark":           "\uFEFFa: 5\n",
		"JSON":           "{\"a\": \"\\u00e9\",\n  \"b\": [6, null, true]}",
		"tabs":           "{\n\t\"a\": 1}",
		"nothing":        "# nothing\n",
		"not separated":  "--- # x\na: 7\n",
		"lines":          "a: 8\r\nb: 9\r\n",
	}
	for first, a := range files {
		for second, b := range files {
			x, errX := manifest.Part("a.yaml", []byte(a))
			y, errY := manifest.Part("b.yaml", []byte(b))
			if errX != nil || errY != nil {
				t.Fatalf("Part of %s and %s: %v, %v", first, second, errX, errY)
			}
			want := append(kubectl(t, a), kubectl(t, b)...)
			if diff := cmp.Diff(want, kubectl(t, string(x)+string(y))); diff != "" {
				t.Errorf("%s and %s: -alone +in a stream\n%s", first, second, diff)
			}
		}
	}
}

func TestPartRefused(t *testing.T) {
	for _, tt := range []struct{ name, file, text string }{
		{"directive", "f.yaml", "%YAML 1.1\n---\na: b\n"},
		{"JSON values", "f.json", `{"a": 1}{"a": 2}`},
		{"block without an end of line", "f.yaml", "a: |\n  b"},
		{"Dockerfile", "Dockerfile", "FROM a\n"},
	} {
		if got, err := manifest.Part(tt.file, []byte(tt.text)); err == nil {
			t.Errorf("Part of %s = %q, want an error", tt.name, got)
		}
	}
}
