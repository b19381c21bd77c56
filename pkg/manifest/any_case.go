// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// anyCase returns the index of a mapping for a program that ignores the case of keys, as kustomize
// does, which decodes with encoding/json. It has the pairs that merge keys repeat.
func (f *File) anyCase(n *yaml.Node) *keyIndex {
	if known := f.folded[n]; known != nil {
		return known
	}
	k := newKeyIndex(n, foldKey)
	for _, r := range f.repeats[n] {
		k.add(foldKey(r.key.Value), r.key, r.value)
	}
	if f.folded == nil {
		f.folded = map[*yaml.Node]*keyIndex{}
	}
	f.folded[n] = k
	return k
}

// get returns the value of a key in any case, or nil.
func (k *keyIndex) get(name string) *yaml.Node { return k.pairs[foldKey(name)][1] }

// foldKey returns what a key has in common with those that encoding/json takes for the same one: in
// place of each letter, the first one of those that differ in their case only. The long s is one of
// these for s.
func foldKey(key string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, key)
}

// getAnyCase is like get, for a key in any case.
func (c cursor) getAnyCase(name string) cursor {
	child := cursor{
		walk: c.walk, use: use{parent: c.node}, pointer: c.pointer.AppendToken(name),
	}
	if c.node == nil || c.node.Kind != yaml.MappingNode {
		return child
	}
	k, spelling := c.file.anyCase(c.node), foldKey(name)
	if p, ok := k.pairs[spelling]; ok {
		child.key, child.node = p[0], p[1]
		child.pointer = c.pointer.AppendToken(child.key.Value)
	}
	if second := k.second[spelling]; second != nil && c.twice == nil {
		c.twice = c.file.duplicate(c.node, second)
		if first := child.key.Value; first != second.Value {
			c.twice = c.file.duplicateAt(second.Line, second, ": it is the same as "+first+
				", because kustomize ignores the case of keys")
		}
	}
	return child
}
