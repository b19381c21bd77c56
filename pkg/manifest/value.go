// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// value is a node of a YAML or JSON document. An alias or a merge key refers to the same *value as
// its anchor, so the values form a graph without cycles.
type value struct {
	kind  jsontext.Kind // one of { [ " 0 t f n
	text  string        // the decoded text of a scalar
	keys  []*value      // the keys of a mapping
	items []*value      // the elements of a sequence or the values of a mapping
	line  int           // starts at 1

	node *yaml.Node // set in YAML documents; yamlSpan finds the bytes of a scalar by it
	span span       // set for JSON scalars; includes the quotes
}

// span is a range of a file's bytes.
type span struct{ start, end int }

func (v *value) scalar() bool { return v.kind != '{' && v.kind != '[' }

// get returns the value of a key. It returns nil if v is not a mapping or does not have the key.
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

// str returns the text of a string, and "" if v is nil or another kind of value.
func (v *value) str() string {
	if v == nil || v.kind != '"' {
		return ""
	}
	return v.text
}

// add appends a pair to a mapping.
func (v *value) add(key, item *value) {
	v.keys, v.items = append(v.keys, key), append(v.items, item)
}

// at returns the value at a JSON pointer (RFC 6901), or nil if there is none.
func (v *value) at(pointer string) *value {
	for step := range jsontext.Pointer(pointer).Tokens() {
		if v == nil {
			return nil
		}
		if v.kind == '[' {
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v.items) {
				return nil
			}
			v = v.items[i]
			continue
		}
		v = v.get(step)
	}
	return v
}

const (
	// maxExpanded limits the size of one object as JSON, because nested aliases can make a small
	// file expand to gigabytes. An API server accepts at most 3 MiB.
	maxExpanded = 16 << 20
	// maxGrowth limits how much a whole file may grow: its objects and merged mappings together
	// may have at most maxExpanded plus maxGrowth times the size of the file. Many objects can
	// have aliases of one large value, and many mappings can merge it. Without aliases and merge
	// keys, the JSON of a file is less than six times as large as the file.
	maxGrowth = 8
	// pairSize is the size in bytes that one merged pair counts for.
	pairSize = 16
)

// appendJSON appends v to b as JSON. The result is only meant for workload.Table.Scan, which does
// not look at the values of numbers, so every number is written as 0. Pairs whose key is a mapping
// or a sequence are left out. If the result is longer than maxExpanded, it is truncated.
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
	case '0':
		return append(b, '0')
	}
	return append(b, v.kind.String()...) // null, true or false
}

// duplicateKey returns a key that occurs twice in v or in a mapping within v, or nil if there is
// none. It skips values that are in seen.
func (v *value) duplicateKey(seen map[*value]bool) *value {
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
		if d := item.duplicateKey(seen); d != nil {
			return d
		}
	}
	return nil
}
