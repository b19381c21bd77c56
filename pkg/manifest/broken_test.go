// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"unicode/utf16"

	"github.com/tagpin/tagpin/pkg/manifest"
)

// encodeUTF16 returns a text in UTF-16 with its byte order mark.
func encodeUTF16(text string, order binary.AppendByteOrder) (data string) {
	var b []byte
	for _, unit := range utf16.Encode([]rune("\uFEFF" + text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

// TestErrMayHaveImages checks which files that can't be parsed may be manifests.
func TestErrMayHaveImages(t *testing.T) {
	const broken = "a: [1\n"
	const escaped = "\"\\x61piVersion\": v1\n\"\\x6bind\": Pod\n" +
		"spec: {containers: [{name: a, image: evil:1}]}\n"
	const jsonPod = `{"apiVersion":"v1","kind":"Pod",` +
		`"spec":{"containers":[{"name":"a","image":"a:1"}]}}`
	const escapedJSON = `{"\u0061piVersion":"v1","\u006bind":"Pod",` +
		`"spec":{"containers":[{"name":"a","image":"evil:1"}]}}`
	for _, tt := range []struct {
		name, file, text string
		want             bool
	}{
		{"after a Pod", "f.yaml", pod + "spec: {}\n---\n" + broken, true},
		{"before a Pod", "f.yaml", broken + "---\n" + pod, true},
		{"after a Pod that is escaped", "f.yaml", escaped + "---\n" + broken, true},
		{"a Pod", "f.yaml", pod + broken, true},
		{"a Pod that is indented", "f.yaml", "  apiVersion: v1\n  'kind' : Pod\n" + broken, true},
		{"items", "f.yaml", "- apiVersion: v1\n  kind: Pod\n" + broken, true},
		{"neither", "f.yaml", broken, false},
		{"one key", "f.yaml", "kind: a\n" + broken, false},
		{"keys in other words", "f.yaml", "kinds: a\nthe apiVersion: b\n" + broken, false},
		{"after another document", "f.yaml", "a: b\n---\n" + broken, false},
		{"after values", "values.yaml", "a: b\n---\n" + broken, true},
		{"after a compose file", "f.yaml", "services: {a: {image: b}}\n---\n" + broken, true},
		{"JSON", "f.json", `{"apiVersion":"v1","kind":"Pod","spec":{]}`, true},
		{"other JSON", "f.json", `{"apiVersion":"v1","spec":{]}`, false},
		{"after JSON", "f.json", escapedJSON + "{", true},
		{"after several JSON values", "f.json", "{}" + escapedJSON + "]", true},
		{"after JSON that is no object", "f.yaml", "{}\n" + escaped, true},
		{"JSON after a separator in a text", "f.yaml", "null\n---#\n" + escapedJSON + "\n", true},
		{"JSON after a wide separator in a text", "f.yaml", "~\n---\u3000\n" + escapedJSON + "\n", true},
		{"a separator in a text", "f.yaml", "a\n---#\nb\n", true},
		{"a directive in a text", "values.yaml", "image: {repository: a, tag: b}\nx: \"\n%TAG\"\n", true},
		{"Dockerfile", "Dockerfile", "# syntax=a/b\nFROM a:1\nHELLO\n", true},
		{"no Dockerfile", "Dockerfile", "a: b\n", false},
		{"no UTF-8", "f.yaml", escaped + "# \xff\n", true},
		{"no UTF-8 elsewhere", "f.yaml", "a: \xff\n", false},
		{"UTF-16", "f.yaml", encodeUTF16(pod, binary.LittleEndian), true},
		{"UTF-16, big endian", "f.json", encodeUTF16(jsonPod, binary.BigEndian), true},
		{"UTF-16 elsewhere", "f.yaml", encodeUTF16("a: b\n", binary.LittleEndian), false},
		{"half of UTF-16", "f.yaml", "\xff\xfea", false},
		{"a key twice", "f.yaml", pod + "kind: List\n", true},
		{"a key twice in values", "values.yaml", "image: {repository: a, tag: '1', tag: '2'}\n", true},
		{"too large", "f.yaml", shared("<<: *x"), true},
		{"Dockerfile", "Dockerfile", "kind: a\napiVersion: b\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := manifest.Parse(tt.file, []byte(tt.text), nil)
			if err == nil || errors.Is(err, manifest.ErrMayHaveImages) != tt.want {
				t.Errorf("Parse(%q) = %v, ErrMayHaveImages: want %t", tt.text, err, tt.want)
			}
		})
	}
}

// TestJSONAsKubectl checks that JSON is read as kubectl reads it.
func TestJSONAsKubectl(t *testing.T) {
	const begin = `{"apiVersion":"v1","kind":"Pod",` +
		`"spec":{"containers":[{"name":"a","image":"«nginx:1»"}]}`
	for _, text := range []string{
		"{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, image: '«nginx:1»'}]}}\n",
		begin + ", }\n",
		begin + ` , "a": "` + "\xff" + `"}`,
		begin + ` , "` + "\xff" + `": "\ud800"}`,
		`{"a": "\ud83d", ` + begin[1:] + "}",
	} {
		before, after := pinnedForm(text)
		if got := firstImage(t, before); got != "nginx:1" {
			t.Errorf("image of %q = %v for kubectl, want nginx:1", before, got)
		}
		f := parse(t, "f.json", before)
		if got, err := f.Edit(edits(f)); err != nil || string(got) != after {
			t.Errorf("Edit of %q = %q, %v, want %q", before, got, err, after)
		}
	}
}
