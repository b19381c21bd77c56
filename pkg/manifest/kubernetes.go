// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// collect adds n to the file's objects if it is an object of a known kind, the references of n if
// it has a format of its own, or the items of n if it is a list. inherited is the kind of an item
// without a kind of its own, as in the typed lists of an API server, such as PodList. seen has the
// visits so far: a list can contain the same node many times by aliases, and all its occurrences
// change together.
func (f *File) collect(
	n *yaml.Node, inherited workload.Kind, seen map[visit]bool,
) error {
	this := visit{n, "object"}
	if n.Kind != yaml.MappingNode || seen[this] {
		return nil
	}
	seen[this] = true
	kind := kindOfObject(n)
	if kind.Kind == "" {
		kind = inherited
	}
	all := formats()
	if i := slices.IndexFunc(all, func(k *format) bool { return k.has(kind) }); i >= 0 {
		return f.find(all[i], n, seen)
	}
	if f.table.Known(kind) {
		return f.addObject(n, kind)
	}
	itemKind, isList := strings.CutSuffix(kind.Kind, "List")
	items := get(n, "items")
	if !isList || items == nil || items.Kind != yaml.SequenceNode {
		return f.leaveKind(n, kind)
	}
	if err := f.checkUnique(n); err != nil {
		return err
	}
	for _, item := range items.Content {
		if err := f.collect(item, workload.Kind{Group: kind.Group, Kind: itemKind}, seen); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) addObject(n *yaml.Node, kind workload.Kind) error {
	var e encoder
	e.add(n)
	if len(e.json) > maxExpanded {
		return f.errorf(n.Line,
			"the object is larger than %d MiB when its aliases are followed", maxExpanded>>20)
	}
	if err := f.addExpanded(n.Line, len(e.json)); err != nil {
		return err
	}
	scanned, err := f.table.Scan(kind, e.json)
	if err != nil {
		return f.errorf(n.Line, "%v", err)
	}
	o := &Object{Object: scanned, file: f, line: n.Line, places: map[string]place{}}
	for _, spec := range scanned.PodSpecs {
		for _, r := range spec.References {
			if r.Pointer == "" {
				continue
			}
			p, err := f.at(n, r.Pointer)
			if err != nil {
				return err
			}
			if p.node != nil {
				o.places[r.Pointer] = p
			}
		}
	}
	f.add(o)
	return nil
}

// isKubernetes reports whether a document is a Kubernetes object, whether or not its kind is known.
func isKubernetes(_ *File, n *yaml.Node) bool {
	return text(get(n, "apiVersion")) != "" && text(get(n, "kind")) != ""
}

// kindOfObject returns the kind of a Kubernetes object.
func kindOfObject(n *yaml.Node) workload.Kind {
	return workload.KindOf(text(get(n, "apiVersion")), text(get(n, "kind")))
}
