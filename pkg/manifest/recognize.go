// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// recognize returns the formats of a document, as formats says.
func (f *File) recognize(root *yaml.Node) (known []*format) {
	kind := kindOfObject(root)
	for _, k := range formats() {
		if len(known) > 0 && !k.also {
			continue
		}
		if k.has(kind) || k.known != nil && k.known(f, root) {
			known = append(known, k)
		}
	}
	return known
}

// has reports whether objects of a kind have the format.
func (k *format) has(kind workload.Kind) bool {
	return kind.Kind != "" && k.kind.Group != "" && kind.Group == k.kind.Group &&
		(k.kind.Kind == "" || kind.Kind == k.kind.Kind)
}

// addDocument adds the references of a document to the file. known are its formats.
func (f *File) addDocument(known []*format, root *yaml.Node) error {
	if key := f.ambiguousKey(root); key != nil {
		return f.duplicate(root, key)
	}
	if len(known) == 0 {
		return nil
	}
	if err := f.addFollowed(root); err != nil {
		return err
	}
	objects, left := len(f.Objects), len(f.Left)
	if err := f.addAs(known[0], root); err != nil {
		return err
	}
	for _, k := range known[1:] {
		if err := f.addAlso(k, root, f.Objects[objects:], f.Left[left:]); err != nil {
			return err
		}
	}
	return nil
}

// addAs adds the references that a document has by its first format.
func (f *File) addAs(k *format, root *yaml.Node) error {
	seen := map[visit]bool{}
	if k.cluster {
		return f.collect(root, workload.Kind{}, seen)
	}
	return f.find(k, root, seen)
}

// find adds the references of a document or an object that has a format. seen has the visits so
// far.
func (f *File) find(k *format, root *yaml.Node, seen map[visit]bool) error {
	w := &walk{file: f, seen: seen, places: map[string]place{}, anyCase: k.anyCase}
	k.find(w, cursor{walk: w, node: root})
	return w.end(root, k.name)
}

// addAlso adds the references that a document has by a further format: its program reads the
// document too, whatever else it looks like. objects and left are what was found because of the
// formats before. It is not added again, but an image that was only likely becomes a certain one.
func (f *File) addAlso(k *format, root *yaml.Node, objects []*Object, left []Left) error {
	type position struct{ line, column int }
	at := func(p place) position {
		line, column := f.position(p)
		return position{line, column}
	}
	certain := map[position]bool{} // what was found, and whether it is an image for certain
	for _, l := range left {
		p := position{l.Line, l.Column}
		certain[p] = certain[p] || l.Reference
	}
	for _, o := range objects {
		for _, p := range o.places {
			certain[at(p)] = true
		}
	}
	before := len(f.Left)
	w := &walk{file: f, seen: map[visit]bool{}, places: map[string]place{}, anyCase: k.anyCase}
	k.find(w, cursor{walk: w, node: root})
	now := map[position]bool{} // what is certain only by this format
	w.references = slices.DeleteFunc(w.references, func(r workload.Reference) bool {
		p := at(w.places[r.Pointer])
		now[p] = now[p] || !certain[p]
		return certain[p]
	})
	more := slices.DeleteFunc(slices.Clone(f.Left[before:]), func(l Left) bool {
		p := position{l.Line, l.Column}
		was, ok := certain[p]
		now[p] = now[p] || l.Reference && !was
		return ok && (was || !l.Reference)
	})
	first := before - len(left)
	kept := slices.DeleteFunc(f.Left[first:before], func(l Left) bool {
		return now[position{l.Line, l.Column}]
	})
	f.Left = append(f.Left[:first+len(kept)], more...)
	return w.end(root, k.name)
}
