// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"math"
	"strings"

	"go.yaml.in/yaml/v3"
)

// use is one place of a node in the tree: a value of a mapping with its key, or an item of a
// sequence, which has no key, with its index. Aliases and merge keys give a node several uses.
type use struct {
	parent, key *yaml.Node
	item        int
}

// useOf returns the use of the node at an index of parent.Content. Keys have no uses of their own.
func useOf(parent *yaml.Node, i int) use {
	switch {
	case parent.Kind == yaml.SequenceNode:
		return use{parent: parent, item: i}
	case i%2 == 0: // a key
		return use{parent: parent}
	}
	return use{parent: parent, key: parent.Content[i-1]}
}

// scalar is a scalar in one of its uses.
type scalar struct {
	use
	node *yaml.Node
}

// line returns the line of a use. The pairs that a merge key adds have keys of the mapping that
// they are from, which is above the one that has the merge key.
func (u use) line() int {
	if u.key == nil {
		return u.parent.Line
	}
	return max(u.key.Line, u.parent.Line)
}

// checkUses returns an error if a scalar that is edited has another use that is not edited. The
// edit would also change that one, such as a name, or an image that is never pulled.
func (r *revision) checkUses() error {
	if !r.file.aliases {
		return nil
	}
	u := uses{revision: r, seen: map[*yaml.Node]bool{}}
	for _, root := range r.file.documents {
		for i := 1; root.Kind == yaml.MappingNode && i < len(root.Content); i += 2 {
			// Fields of such names exist to have anchors
			// (https://github.com/compose-spec/compose-spec/blob/main/11-extension.md).
			if !strings.HasPrefix(root.Content[i-1].Value, "x-") {
				u.visit(root.Content[i], useOf(root, i))
			}
		}
		if root.Kind != yaml.MappingNode {
			u.visit(root, use{parent: root})
		}
	}
	if u.other == nil {
		return nil
	}
	line := math.MaxInt
	for at, n := range r.edited {
		if n == u.shared {
			line = min(line, at.line())
		}
	}
	return r.file.errorf(line, "can't edit %s: line %d also has this text through an alias, and "+
		"there it is not to be pinned; write it out in both places", u.shared.Value, u.other.line())
}

// uses is the search for another use of a scalar that is edited.
type uses struct {
	*revision

	seen   map[*yaml.Node]bool // mappings and sequences that were visited
	shared *yaml.Node          // the first scalar that has another use
	other  *use
}

// visit visits a node that is used at a place.
func (u *uses) visit(n *yaml.Node, at use) {
	if n.Kind == yaml.ScalarNode {
		if _, edited := u.values[n]; edited && u.edited[at] == nil && u.other == nil {
			u.shared, u.other = n, &at
		}
		return
	}
	if u.seen[n] {
		return
	}
	u.seen[n] = true
	for i, child := range n.Content {
		u.visit(child, useOf(n, i))
	}
}
