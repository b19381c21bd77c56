// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// Documents of both formats are trees of yaml.Node. After parsing, a node has no aliases and no
// merge keys below it: where the file has one, the tree has the node that it refers to. Such nodes
// have several parents, so the nodes form a graph without cycles.

// kindOf returns the kind that a node has in JSON: one of { [ " 0 t f n.
func kindOf(n *yaml.Node) jsontext.Kind {
	switch n.Kind {
	case yaml.MappingNode:
		return '{'
	case yaml.SequenceNode:
		return '['
	}
	switch n.ShortTag() {
	case "!!null":
		return 'n'
	case "!!bool":
		if strings.EqualFold(n.Value, "true") {
			return 't'
		}
		return 'f'
	case "!!int", "!!float":
		return '0'
	}
	return '"'
}

// pair returns a key and its value. They are nil if n is not a mapping or does not have the key. It
// looks at the keys one by one, which is enough where a document is looked at once. Where many
// places may lead to the same mapping, use File.pair.
func pair(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for p := range slices.Chunk(n.Content, 2) {
		if p[0].Kind == yaml.ScalarNode && p[0].Value == name {
			return p[0], p[1]
		}
	}
	return nil, nil
}

// get returns the value of a key. It returns nil if n is not a mapping or does not have the key. It
// is as slow as pair; File.get is not.
func get(n *yaml.Node, name string) *yaml.Node {
	_, value := pair(n, name)
	return value
}

// text returns the text of a string, and "" if n is nil or has another kind.
func text(n *yaml.Node) string {
	if n == nil || kindOf(n) != '"' {
		return ""
	}
	return n.Value
}

// hasValue reports whether a node is a scalar that is neither empty nor null.
func hasValue(n *yaml.Node) bool { return n != nil && n.Value != "" && kindOf(n) != 'n' }

// at returns the place at a JSON pointer (RFC 6901). Its node is nil if there is none. It returns
// an error if a mapping on the way to the node has a key twice: programs do not agree which one
// counts. Elsewhere in the file, a duplicate key changes no reference, unless it is one that the
// search for references looks for.
func (f *File) at(root *yaml.Node, pointer string) (place, error) {
	p := place{scalar: scalar{node: root}}
	for step := range jsontext.Pointer(pointer).Tokens() {
		n := p.node
		p.use = use{parent: n}
		if n == nil || n.Kind != yaml.SequenceNode {
			if err := cmp.Or(f.checkUnique(n), f.checkRepeats(n, step)); err != nil {
				return place{}, err
			}
			p.key, p.node = f.pair(n, step)
			continue
		}
		i, err := strconv.Atoi(step)
		if err != nil || i < 0 || i >= len(n.Content) {
			return place{}, nil
		}
		p.item, p.node = i, n.Content[i]
	}
	return p, nil
}

// ErrDuplicateKey is why Parse fails if a mapping on the way to an image, or where one may be, has
// a key twice, in a file that has a Kubernetes object for a cluster. The error is another one in
// other files, whose programs may accept them.
var ErrDuplicateKey = errors.New("duplicate key")

// checkUnique returns an error if n is a mapping that has a key twice.
func (f *File) checkUnique(n *yaml.Node) error {
	if n == nil || n.Kind != yaml.MappingNode || f.unique[n] {
		return nil
	}
	if k := f.index(n); k != nil {
		if k.twice != nil {
			return f.duplicate(n, k.twice)
		}
		return nil
	}
	seen := map[string]bool{}
	for p := range slices.Chunk(n.Content, 2) {
		key := p[0]
		if key.Kind != yaml.ScalarNode {
			continue
		}
		if seen[key.Value] {
			return f.duplicate(n, key)
		}
		seen[key.Value] = true
	}
	if f.unique == nil {
		f.unique = map[*yaml.Node]bool{}
	}
	f.unique[n] = true
	return nil
}

// checkRepeats returns an error if a merge key repeats this key of n.
func (f *File) checkRepeats(n *yaml.Node, name string) error {
	if key := f.repeated(n, name); key != nil {
		return f.duplicate(n, key)
	}
	return nil
}

// checkKey returns an error if n is a mapping that has this key twice. It does not look at other
// keys.
func (f *File) checkKey(n *yaml.Node, name string) error {
	if key := f.secondKey(n, name); key != nil {
		return f.duplicate(n, key)
	}
	return nil
}

// duplicate returns the error of a key that n has twice.
func (f *File) duplicate(n, key *yaml.Node) error {
	line, why := key.Line, ""
	for _, r := range f.repeats[n] {
		if r.key == key {
			line = r.from.line
			why = ": a merge key repeats it; write the key after the merge keys"
		}
	}
	return f.duplicateAt(line, key, why)
}

// duplicateAt returns the error of a key that is there twice. why says more, or is empty.
func (f *File) duplicateAt(line int, key *yaml.Node, why string) error {
	if f.cluster() {
		return f.errorf(line, "%w %q in a mapping%s", ErrDuplicateKey, key.Value, why)
	}
	return f.errorf(line, "%v %q in a mapping%s", ErrDuplicateKey, key.Value, why)
}

// cluster reports whether the file has a Kubernetes object for a cluster, or may have one: that can
// depend on which of two equal keys counts.
func (f *File) cluster() bool {
	return slices.ContainsFunc(f.formats, func(k *format) bool { return k.cluster }) ||
		slices.ContainsFunc(f.documents, func(n *yaml.Node) bool { return f.ambiguousKey(n) != nil })
}

// A file may need at most maxExpanded plus maxGrowth times its size, in bytes: its documents with
// their aliases followed, its merged mappings, the JSON of its objects, and long paths. Nested
// aliases can make a small file expand to gigabytes. Without aliases, merge keys and long paths, a
// file needs less than six times its size.
const (
	maxExpanded = 16 << 20
	maxGrowth   = 8
	nodeSize    = 8 // what a node counts for, in addition to its text
)

// encoder writes nodes as JSON for workload.Table.Scan, which does not look at the values of
// numbers: every number is written as 0. Pairs whose key is a mapping or a sequence are left out.
type encoder struct {
	file *File
	json []byte
}

func (e *encoder) add(n *yaml.Node) {
	kind := kindOf(n)
	switch kind {
	case '{':
		e.addMapping(n)
	case '[':
		e.json = append(e.json, '[')
		for i, item := range n.Content {
			if i > 0 {
				e.json = append(e.json, ',')
			}
			e.add(item)
		}
		e.json = append(e.json, ']')
	case '"':
		e.json, _ = jsontext.AppendQuote(e.json, n.Value)
	case '0':
		e.json = append(e.json, '0')
	default: // null, true or false
		e.json = append(e.json, kind.String()...)
	}
}

func (e *encoder) addMapping(n *yaml.Node) {
	e.json = append(e.json, '{')
	first := true
	e.file.eachPair(n, func(key, value *yaml.Node) {
		if !first {
			e.json = append(e.json, ',')
		}
		first = false
		e.json, _ = jsontext.AppendQuote(e.json, key.Value)
		e.json = append(e.json, ':')
		e.add(value)
	})
	e.json = append(e.json, '}')
}
