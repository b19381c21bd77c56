// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// imageField scans a value that a path of Table.Add's images leads to. Only a text is an image.
func (s *scanner) imageField() error {
	var r Reference
	if err := s.image(&r); err != nil || r.Pointer == "" {
		return err
	}
	r.Name = r.Pointer
	return s.add(&s.images, r)
}

// neverPull applies the pull policy Never of the object that was scanned last. Some of the images
// may be in objects below it.
func (s *scanner) neverPull(images []Reference) {
	holder := s.dec.StackPointer()
	for i := range images {
		if jsontext.Pointer(images[i].Pointer).Parent() == holder {
			images[i].Never = true
		}
	}
}

// addImages adds the images outside of pod templates to the result. If elements of a list have the
// same name, the names of their images are told apart by numbers.
func (s *scanner) addImages() {
	if len(s.images.References) == 0 {
		return
	}
	seen := make(map[string]int, len(s.images.References))
	for i := range s.images.References {
		name := &s.images.References[i].Name
		if seen[*name]++; seen[*name] > 1 {
			*name = fmt.Sprintf("%s#%d", *name, seen[*name])
		}
	}
	s.images.Hash = s.rest.Sum64()
	s.into.PodSpecs = append(s.into.PodSpecs, s.images)
}
