// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// collect adds n to the stream's objects if it is an object of a known kind, or the items of n if
// it is a list. inherited is the kind of an item without a kind of its own, as in the typed lists
// of an API server, such as PodList. seen has the nodes that were visited: a list can contain the
// same node many times by aliases, and all its occurrences change together.
func (s *Stream) collect(
	n *yaml.Node, inherited workload.Kind, seen map[*yaml.Node]bool,
) error {
	if n.Kind != yaml.MappingNode || seen[n] {
		return nil
	}
	seen[n] = true
	kind := workload.KindOf(text(get(n, "apiVersion")), text(get(n, "kind")))
	if kind.Kind == "" {
		kind = inherited
	}
	if s.table.Known(kind) {
		return s.addObject(n, kind)
	}
	itemKind, isList := strings.CutSuffix(kind.Kind, "List")
	items := get(n, "items")
	if !isList || items == nil || items.Kind != yaml.SequenceNode {
		return nil
	}
	for _, item := range items.Content {
		if err := s.collect(item, workload.Kind{Group: kind.Group, Kind: itemKind}, seen); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) addObject(n *yaml.Node, kind workload.Kind) error {
	var e encoder
	e.add(n)
	if d := e.duplicate; d != nil {
		return s.errorf(d.Line, "duplicate key %q in a mapping", d.Value)
	}
	if len(e.json) > maxExpanded {
		return s.errorf(n.Line,
			"the object is larger than %d MiB when its aliases are followed", maxExpanded>>20)
	}
	if err := s.addExpanded(n.Line, len(e.json)); err != nil {
		return err
	}
	scanned, err := s.table.Scan(kind, e.json)
	if err != nil {
		return s.errorf(n.Line, "%v", err)
	}
	s.Objects = append(s.Objects, &Object{Object: scanned, stream: s, root: n})
	return nil
}
