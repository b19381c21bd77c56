// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tagpin/tagpin/pkg/workload"
)

// Aliases and merge keys can put the same scalars in several places of a chart's values. They may
// be an image for certain in one place, only likely in another one, and in a third one a registry
// may be beside them. Only after the search is it known which of these counts.

// likelyValue is what is likely to be an image in the values of a chart. leave leaves it.
type likelyValue struct {
	name  *yaml.Node
	leave func()
}

// scalars returns the scalars that have the parts of a reference.
func (w *walk) scalars(r workload.Reference) []scalar {
	p := w.places[r.Pointer]
	return append(slices.Clone(p.others), p.scalar)
}

// dropLeft drops the references with a scalar that was left in another place: an edit would change
// that one too.
func (w *walk) dropLeft() {
	isLeft := func(s scalar) bool { return w.left[s.use] }
	w.references = slices.DeleteFunc(w.references, func(r workload.Reference) bool {
		drop := slices.ContainsFunc(w.scalars(r), isLeft)
		if drop {
			delete(w.places, r.Pointer)
		}
		return drop
	})
}

// leaveLikelyValues leaves what is likely to be an image, unless its name is that of a reference
// too.
func (w *walk) leaveLikelyValues() {
	certain := map[*yaml.Node]bool{}
	for _, r := range w.references {
		for _, s := range w.scalars(r) {
			certain[s.node] = true
		}
	}
	for _, l := range w.likely {
		if !certain[l.name] {
			l.leave()
		}
	}
	w.likely = nil
}
