// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"path/filepath"
	"slices"

	"github.com/tagpin/tagpin/pkg/workload"
)

// NameClass returns what the name of a file says about its format. Names of the same class are
// equal for Parse: the same data has the same images, whichever of them the file has.
func NameClass(path string) string {
	switch {
	case isDockerfile(path):
		return dockerfileFormat.name
	case IsKustomizationName(path):
		return "Kustomization"
	case valuesName.MatchString(filepath.Base(path)):
		return valuesFormat
	}
	return ""
}

// Without returns what f has and another file has not, which was parsed from the same data by a
// name of another class. The objects of f that have no other images are left out.
func (f *File) Without(other *File) *File {
	type image struct {
		line, column int
		text         string
	}
	known := map[image]bool{}
	for _, o := range other.Objects {
		for _, spec := range o.PodSpecs {
			for _, r := range spec.References {
				line, column := o.Position(r)
				known[image{line, column, r.Text}] = true
			}
		}
	}
	for _, l := range other.Left {
		known[image{l.Line, l.Column, l.Text}] = known[image{l.Line, l.Column, l.Text}] || l.Reference
	}
	rest := *f
	rest.Ignored = max(f.Ignored-other.Ignored, 0)
	rest.Left = slices.DeleteFunc(slices.Clone(f.Left), func(l Left) bool {
		certain, ok := known[image{l.Line, l.Column, l.Text}]
		return ok && (certain || !l.Reference)
	})
	pinned := map[image]bool{}
	for _, p := range other.Pinned {
		pinned[image{p.Line, p.Column, p.Text}] = true
	}
	rest.Pinned = slices.DeleteFunc(slices.Clone(f.Pinned), func(p Pin) bool {
		return pinned[image{p.Line, p.Column, p.Text}]
	})
	rest.Objects = nil
	for _, o := range f.Objects {
		o = o.without(func(r workload.Reference) bool {
			line, column := o.Position(r)
			return known[image{line, column, r.Text}]
		})
		if o.hasReferences() {
			rest.Objects = append(rest.Objects, o)
		}
	}
	return &rest
}

// without returns the object without some of its references.
func (o *Object) without(known func(workload.Reference) bool) *Object {
	copied, object := *o, *o.Object
	object.PodSpecs = slices.Clone(o.PodSpecs)
	for i := range object.PodSpecs {
		spec := &object.PodSpecs[i]
		spec.References = slices.DeleteFunc(slices.Clone(spec.References), known)
	}
	copied.Object = &object
	return &copied
}

// hasReferences reports whether the object has any reference.
func (o *Object) hasReferences() bool {
	return slices.ContainsFunc(o.PodSpecs, func(s workload.PodSpec) bool {
		return len(s.References) > 0
	})
}
