// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// mergeKey is a merge key of a mapping.
type mergeKey struct {
	value *yaml.Node
	line  int
	after int // number of nodes of the mapping's own pairs that precede it
}

// repeat is a pair of a merge key that has a key of another pair of the mapping, and another value.
// Programs do not agree which of the two pairs counts.
type repeat struct {
	key, value *yaml.Node
	from       mergeKey
	document   int // the index of the document
}

// splitMerged splits the pairs of a mapping into its own ones and its merge keys.
func (f *File) splitMerged(pairs []*yaml.Node) (own []*yaml.Node, merged []mergeKey) {
	for pair := range slices.Chunk(pairs, 2) {
		if f.isMerge(pair[0]) {
			merged = append(merged, mergeKey{pair[1], pair[0].Line, len(own)})
		} else {
			own = append(own, pair...)
		}
	}
	return own, merged
}

// merge adds the pairs of the values of merge keys to n. Each value is a mapping or a sequence of
// mappings (https://yaml.org/type/merge.html). Pairs of n and of earlier mappings take precedence.
//
// The parser of kubectl, Helm and kustomize, go.yaml.in/yaml/v2, sets all pairs in the order of the
// file instead, so a merge key replaces the pairs of n and of other merge keys before it. Pairs
// that count only for such a parser are added to repeats.
func (f *File) merge(n *yaml.Node, merged []mergeKey, known map[*yaml.Node]bool) error {
	if len(merged) == 0 {
		return nil
	}
	own := n.Content
	values := map[string]*yaml.Node{}
	for pair := range slices.Chunk(own, 2) {
		if k := pair[0]; k.Kind == yaml.ScalarNode && values[k.Value] == nil {
			values[k.Value] = pair[1]
		}
	}
	inOrder := map[string]repeat{} // the pairs of merge keys that replace others
	for _, m := range merged {
		bases, err := f.bases(m, known)
		if err != nil {
			return err
		}
		for _, b := range bases {
			for pair := range slices.Chunk(b.Content, 2) {
				if k := pair[0]; k.Kind == yaml.ScalarNode && values[k.Value] == nil {
					values[k.Value] = pair[1]
					n.Content = append(n.Content, pair...)
					if line, ok := f.aliasLines[use{parent: b, key: k}]; ok {
						f.addAlias(use{parent: n, key: k}, line)
					}
				}
			}
		}
		for _, b := range slices.Backward(bases) {
			f.eachPair(b, func(key, value *yaml.Node) {
				inOrder[key.Value] = repeat{key, value, m, len(f.documents)}
			})
		}
	}
	for i := 0; i < len(own); i += 2 { // own pairs replace those of merge keys before them
		if name := own[i].Value; own[i].Kind == yaml.ScalarNode && i >= inOrder[name].from.after {
			delete(inOrder, name)
		}
	}
	f.addRepeats(n, values, inOrder)
	return nil
}

// addRepeats adds the pairs of merge keys whose values are not those that take precedence.
func (f *File) addRepeats(n *yaml.Node, values map[string]*yaml.Node, inOrder map[string]repeat) {
	var repeats []repeat
	for pair := range slices.Chunk(n.Content, 2) {
		r, ok := inOrder[pair[0].Value]
		if ok && pair[0].Kind == yaml.ScalarNode && r.value != values[r.key.Value] {
			repeats = append(repeats, r)
			delete(inOrder, r.key.Value)
		}
	}
	if len(repeats) == 0 {
		return
	}
	if f.repeats == nil {
		f.repeats = map[*yaml.Node][]repeat{}
	}
	f.repeats[n] = repeats
}

// bases returns the mappings whose pairs a merge key adds.
func (f *File) bases(m mergeKey, known map[*yaml.Node]bool) ([]*yaml.Node, error) {
	base, err := f.expand(m.value, known)
	if err != nil {
		return nil, err
	}
	bases := []*yaml.Node{base}
	if base.Kind == yaml.SequenceNode {
		bases = base.Content
	}
	for _, b := range bases {
		if b.Kind != yaml.MappingNode {
			return nil, f.errorf(m.value.Line, "the value of a merge key is not a mapping")
		}
		if err := f.addExpanded(m.value.Line, nodeSize*len(b.Content)); err != nil {
			return nil, err
		}
	}
	return bases, nil
}

// dropRepeats drops the repeats of documents whose programs do not set pairs in the order of the
// file. known are the formats of the documents.
func (f *File) dropRepeats(known [][]*format) {
	inOrder := func(k *format) bool { return !k.ownKeysFirst }
	maps.DeleteFunc(f.repeats, func(_ *yaml.Node, all []repeat) bool {
		formats := known[all[0].document]
		return len(formats) > 0 && !slices.ContainsFunc(formats, inOrder)
	})
}

// eachPair calls visit with each pair of a mapping whose key is a scalar. A key can be there more
// than once. The last value is the one that counts for kubectl.
func (f *File) eachPair(n *yaml.Node, visit func(key, value *yaml.Node)) {
	for pair := range slices.Chunk(n.Content, 2) {
		if pair[0].Kind == yaml.ScalarNode {
			visit(pair[0], pair[1])
		}
	}
	for _, r := range f.repeats[n] {
		visit(r.key, r.value)
	}
}
