// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// visit is a visit of a mapping or a sequence. Aliases may put the same node in several places, in
// another role in each, so a node is visited once in each role.
type visit struct {
	node *yaml.Node
	as   role
}

// role is what a search takes a node for.
type role string

// walk is the search for the references of one document that is not a Kubernetes object of the
// table.
type walk struct {
	file       *File
	seen       map[visit]bool // of mappings and sequences, which aliases repeat
	left       map[use]bool   // images that are in File.Left or ignored
	references []workload.Reference
	places     map[string]place
	errs       []error
	twice      error      // of the first mapping that has a key twice that the search looked for
	anyCase    bool       // keys can be in any case
	registry   *yaml.Node // the registry of all images of a chart, if its values set one
	near       map[*yaml.Node]*neighbours
	likely     []likelyValue // in the values of a chart
}

// end adds what was found to the file.
func (w *walk) end(root *yaml.Node, kind string) error {
	for _, r := range w.references {
		if _, err := w.file.at(root, r.Pointer); err != nil {
			return err
		}
	}
	if len(w.references) > 0 {
		w.file.add(&Object{
			Object: &workload.Object{
				Kind: workload.Kind{Kind: kind}, Custom: true,
				PodSpecs: []workload.PodSpec{{References: w.references}},
			},
			file: w.file, line: root.Line, places: w.places,
		})
	}
	return w.err()
}

// err returns the errors of the search.
func (w *walk) err() error { return errors.Join(append(w.errs, w.twice)...) }

// longPath is the size in bytes up to which a path counts for nothing. A label has at most 317
// bytes in its key, and the paths of objects have some hundred.
const longPath = 512

// cursor is a node of a document, and the way to it. Its node is nil if the document has no such
// node.
type cursor struct {
	*walk
	use
	node    *yaml.Node
	pointer jsontext.Pointer
}

// get returns the value of a key. If the mapping has the key twice, that is an error of the search,
// even if no value has a reference: the other value may be anything.
func (c cursor) get(name string) cursor {
	if c.anyCase {
		return c.getAnyCase(name)
	}
	child := cursor{
		walk: c.walk, use: use{parent: c.node}, pointer: c.pointer.AppendToken(name),
	}
	child.key, child.node = c.file.pair(c.node, name)
	if c.twice == nil {
		c.twice = c.file.checkKey(c.node, name)
	}
	return child
}

// text returns the text of a string, or "".
func (c cursor) text() string { return text(c.node) }

// each calls do with each value of a mapping, or with each element of a sequence. The role says
// what the caller takes that mapping or sequence for. A walk visits a node only once in the same
// role, because nested aliases can repeat it a trillion times. Each value gets a copy of the whole
// path, so it is an error if there are too many long ones.
func (c cursor) each(as role, do func(c cursor)) {
	this := visit{c.node, as}
	if c.node == nil || c.seen[this] {
		return
	}
	long := max(len(c.pointer)-longPath, 0)
	if err := c.file.addExpanded(c.node.Line, long*len(c.node.Content)); err != nil {
		if len(c.errs) == 0 {
			c.errs = []error{err}
		}
		return
	}
	switch c.node.Kind {
	case yaml.MappingNode:
		c.seen[this] = true
		c.file.eachPair(c.node, func(key, value *yaml.Node) {
			do(cursor{c.walk, use{parent: c.node, key: key}, value, c.pointer.AppendToken(key.Value)})
		})
	case yaml.SequenceNode:
		c.seen[this] = true
		for i, item := range c.node.Content {
			do(cursor{c.walk, useOf(c.node, i), item, c.pointer.AppendToken(strconv.Itoa(i))})
		}
	}
}

// asScalar returns the node in its use.
func (c cursor) asScalar() scalar { return scalar{c.use, c.node} }
