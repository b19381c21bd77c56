// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// collect adds the references of the object n and of its items. inherited is the kind of an item
// without a kind of its own, as in the typed lists of an API server, such as PodList. seen has the
// visits so far: a list can contain the same node many times by aliases, and all its occurrences
// change together.
//
// For kubectl, an object of any kind is a list if it has items, and then nothing else in it counts
// (unstructuredJSONScheme in k8s.io/apimachinery/pkg/apis/meta/v1/unstructured).
func (f *File) collect(
	n *yaml.Node, inherited workload.Kind, seen map[visit]bool,
) error {
	this := visit{n, "object"}
	if n.Kind != yaml.MappingNode || seen[this] {
		return nil
	}
	seen[this] = true
	for _, name := range []string{"apiVersion", "kind", "items"} {
		if err := f.checkKey(n, name); err != nil {
			return err
		}
	}
	kind := kindOfObject(n)
	if kind.Kind == "" {
		kind = inherited
	}
	if err := f.addKind(n, kind, seen); err != nil {
		return err
	}
	itemKind := workload.Kind{Group: kind.Group, Kind: strings.TrimSuffix(kind.Kind, "List")}
	for _, item := range itemsOf(n) {
		if err := f.collect(item, itemKind, seen); err != nil {
			return err
		}
	}
	return nil
}

// itemsOf returns the items of an object, or nil if it is not a list.
func itemsOf(n *yaml.Node) []*yaml.Node {
	if items := get(n, "items"); items != nil && items.Kind == yaml.SequenceNode {
		return items.Content
	}
	return nil
}

// addKind adds n to the file's objects if its kind is known, or the references of n if it has a
// format of its own. It leaves the images of other kinds but lists, apart from their items.
func (f *File) addKind(n *yaml.Node, kind workload.Kind, seen map[visit]bool) error {
	all := formats()
	if i := slices.IndexFunc(all, func(k *format) bool { return k.has(kind) }); i >= 0 {
		return f.find(all[i], n, seen)
	}
	if f.table.Known(kind) {
		return f.addObject(n, kind)
	}
	if strings.HasSuffix(kind.Kind, "List") && itemsOf(n) != nil {
		return nil
	}
	return f.leaveKind(n, kind)
}

func (f *File) addObject(n *yaml.Node, kind workload.Kind) error {
	e := encoder{file: f}
	e.add(n)
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

// ambiguousKey returns the second one of two equal keys that decide which kind a document has if it
// is a Kubernetes object, or nil.
func (f *File) ambiguousKey(n *yaml.Node) *yaml.Node {
	if !isObject(n) {
		return nil
	}
	return cmp.Or(f.secondKey(n, "apiVersion"), f.secondKey(n, "kind"))
}

// isObject reports whether a document has the keys that all Kubernetes objects have, whatever their
// values are.
func isObject(n *yaml.Node) bool {
	return get(n, "apiVersion") != nil && get(n, "kind") != nil
}

// kindOfObject returns the kind of a Kubernetes object.
func kindOfObject(n *yaml.Node) workload.Kind {
	return workload.KindOf(text(get(n, "apiVersion")), text(get(n, "kind")))
}
