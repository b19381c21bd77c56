// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"slices"

	"go.yaml.in/yaml/v3"
)

// keyIndex has the pairs of a large mapping by their keys. Many places can be in one mapping, and
// many aliases can be for it, so that a search through all of its pairs for each would take a time
// that grows with the square of the size of the file.
type keyIndex struct {
	pairs  map[string][2]*yaml.Node // the first pair of each key
	second map[string]*yaml.Node    // the second key of those that are there twice
	twice  *yaml.Node               // the first one of these in the file
}

// manyPairs is the number of pairs from which on a mapping has an index.
const manyPairs = 16

// index returns the index of a mapping, or nil if it has few pairs. It does not have the pairs that
// merge keys repeat.
func (f *File) index(n *yaml.Node) *keyIndex {
	if len(n.Content) < 2*manyPairs {
		return nil
	}
	if known := f.indexes[n]; known != nil {
		return known
	}
	k := newKeyIndex(n, func(key string) string { return key })
	if f.indexes == nil {
		f.indexes = map[*yaml.Node]*keyIndex{}
	}
	f.indexes[n] = k
	return k
}

// newKeyIndex returns the index of a mapping. Keys are equal if the spelling of both is the same.
func newKeyIndex(n *yaml.Node, spelling func(key string) string) *keyIndex {
	k := &keyIndex{
		pairs: make(map[string][2]*yaml.Node, len(n.Content)/2), second: map[string]*yaml.Node{},
	}
	for p := range slices.Chunk(n.Content, 2) {
		if key := p[0]; key.Kind == yaml.ScalarNode {
			k.add(spelling(key.Value), key, p[1])
		}
	}
	return k
}

func (k *keyIndex) add(spelling string, key, value *yaml.Node) {
	if _, known := k.pairs[spelling]; !known {
		k.pairs[spelling] = [2]*yaml.Node{key, value}
		return
	}
	k.twice = cmp.Or(k.twice, key)
	k.second[spelling] = cmp.Or(k.second[spelling], key)
}

// pair returns the same as the function pair. In a mapping with many pairs it uses the index, so
// that it takes the same time for each key, where the function looks at the keys one by one.
func (f *File) pair(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	if k := f.index(n); k != nil {
		p := k.pairs[name]
		return p[0], p[1]
	}
	return pair(n, name)
}

// get returns the same as the function get, as fast as File.pair.
func (f *File) get(n *yaml.Node, name string) *yaml.Node {
	_, value := f.pair(n, name)
	return value
}

// repeated returns the key of the pair that a merge key repeats in a mapping, or nil.
func (f *File) repeated(n *yaml.Node, name string) *yaml.Node {
	all := f.repeats[n]
	if len(all) == 0 {
		return nil
	}
	known := f.repeatKeys[n]
	if known == nil {
		known = make(map[string]*yaml.Node, len(all))
		for _, r := range all {
			known[r.key.Value] = r.key
		}
		if f.repeatKeys == nil {
			f.repeatKeys = map[*yaml.Node]map[string]*yaml.Node{}
		}
		f.repeatKeys[n] = known
	}
	return known[name]
}

// secondKey returns the second one of two equal keys of a mapping, or nil.
func (f *File) secondKey(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	if k := f.index(n); k != nil {
		return cmp.Or(k.second[name], f.repeated(n, name))
	}
	count := 0
	for p := range slices.Chunk(n.Content, 2) {
		if p[0].Kind != yaml.ScalarNode || p[0].Value != name {
			continue
		}
		if count++; count == 2 {
			return p[0]
		}
	}
	return f.repeated(n, name)
}
