// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// value is a node of a document, whether of YAML or of JSON. Aliases and merge keys are followed: what they bring is the
// anchor's own *value, once more, so that values form a graph without cycles.
type value struct {
	kind  jsontext.Kind // { [ " 0 t f n
	text  string        // of a scalar: what it says
	keys  []*value      // of a mapping
	items []*value      // of a mapping or sequence
	line  int           // from 1

	node *yaml.Node // of a YAML scalar; its span is looked for when it is needed
	span span       // of a JSON scalar, with its quotes
}

// span is a range of a file's bytes.
type span struct{ start, end int }

func (v *value) scalar() bool { return v.kind != '{' && v.kind != '[' }

// get is the value of a key; nil where there is none, or v is no mapping.
func (v *value) get(name string) *value {
	if v == nil || v.kind != '{' {
		return nil
	}
	for i, k := range v.keys {
		if k.scalar() && k.text == name {
			return v.items[i]
		}
	}
	return nil
}

// str is the text of a string; empty for any other value, and for none.
func (v *value) str() string {
	if v == nil || v.kind != '"' {
		return ""
	}
	return v.text
}

// add puts a pair at a mapping's end.
func (v *value) add(key, item *value) {
	v.keys, v.items = append(v.keys, key), append(v.items, item)
}

// names are the keys that v has.
func (v *value) names() map[string]bool {
	names := make(map[string]bool, len(v.keys))
	for _, k := range v.keys {
		if k.scalar() {
			names[k.text] = true
		}
	}
	return names
}

// merge adds the pairs of base whose keys v has not (https://yaml.org/type/merge.html).
func (v *value) merge(has map[string]bool, base *value) {
	for i, k := range base.keys {
		if k.scalar() && !has[k.text] {
			has[k.text] = true
			v.add(k, base.items[i])
		}
	}
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// at follows a JSON pointer (RFC 6901); nil where it leads nowhere.
func (v *value) at(pointer string) *value {
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if v == nil || pointer == "" {
			return v
		}
		if v.kind == '[' {
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v.items) {
				return nil
			}
			v = v.items[i]
			continue
		}
		v = v.get(unescape.Replace(step))
	}
	return v
}

const (
	// maxExpanded bounds the JSON of one object: aliases of aliases can make much of little. An API server takes 3 MiB.
	maxExpanded = 16 << 20
	// maxGrowth bounds, as a multiple of its bytes, what a file may become beyond maxExpanded: many objects may have aliases
	// of one large value, and many mappings merge it. Without either JSON has less than six bytes for one.
	maxGrowth = 8
	// pairSize is what a merged pair is counted for.
	pairSize = 16
)

// appendJSON writes v for a scan that looks at strings, true and null: a number's own value does not matter to it. A key
// that is a mapping or sequence is left out. It ends early where the text is longer than maxExpanded.
func (v *value) appendJSON(b []byte) []byte {
	if len(b) > maxExpanded {
		return b
	}
	switch v.kind {
	case '{':
		b = append(b, '{')
		n := len(b)
		for i, k := range v.keys {
			if !k.scalar() {
				continue
			}
			if len(b) > n {
				b = append(b, ',')
			}
			b, _ = jsontext.AppendQuote(b, k.text)
			b = v.items[i].appendJSON(append(b, ':'))
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, item := range v.items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	case '"':
		b, _ = jsontext.AppendQuote(b, v.text)
		return b
	case 't':
		return append(b, "true"...)
	case 'f':
		return append(b, "false"...)
	case '0':
		return append(b, '0')
	}
	return append(b, "null"...)
}

// doubled is the first key, in document order, that stands twice in a mapping of v; nil where there is none.
func (v *value) doubled(seen map[*value]bool) *value {
	if v.scalar() || seen[v] {
		return nil
	}
	seen[v] = true
	keys := make(map[string]bool, len(v.keys))
	for _, k := range v.keys {
		if k.scalar() && keys[k.text] {
			return k
		}
		keys[k.text] = true
	}
	for _, item := range v.items {
		if d := item.doubled(seen); d != nil {
			return d
		}
	}
	return nil
}
