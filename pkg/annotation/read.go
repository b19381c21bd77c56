// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"encoding/json"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// PodSpec is a pod spec whose references were parsed, and what the annotations say about it.
type PodSpec struct {
	Spec   *workload.PodSpec // as it was scanned
	Old    *PodSpec          // the same pod spec of the old object, or nil
	Images []Image           // one for each reference, in document order
	// Prefix precedes the keys in the annotations. The names of images outside of pod templates need
	// none.
	Prefix string
	// Markers are the markers of the pod spec, and Recorded those that its pins were resolved for.
	Markers, Recorded Markers
	// Outdated is true if an image has another digest than the entry for it: the annotations are about
	// other pins than those of the pod spec.
	Outdated bool
}

// Image is a parsed reference of a pod spec.
type Image struct {
	Old       *Image             // that of the same container or volume in the old object, or nil
	Reference workload.Reference // as it stands in the object
	Key       string             // its key in the annotations
	Parsed    ref.Reference      // zero if the text could not be parsed
	ParseErr  error              // why the text could not be parsed
	// Entry is what the annotation has for the pin in the text: the text that tagpin pinned, with the
	// digest. It is zero if the text is not a pin that tagpin made.
	Entry ref.Reference
}

// ReadBoth reads an object and the object that it replaces, as Read does, and sets the Old fields.
// old may be nil.
func ReadBoth(o, old *workload.Object, markers []string) []PodSpec {
	now := Read(o, markers)
	if old == nil {
		return now
	}
	specs, before := map[string]*PodSpec{}, Read(old, markers)
	for i := range before {
		specs[before[i].Spec.Key] = &before[i]
	}
	for i := range now {
		s := &now[i]
		if s.Old = specs[s.Spec.Key]; s.Old == nil {
			continue
		}
		images := make(map[string]*Image, len(s.Old.Images))
		for j := range s.Old.Images {
			images[s.Old.Images[j].Reference.Name] = &s.Old.Images[j]
		}
		for j := range s.Images {
			s.Images[j].Old = images[s.Images[j].Reference.Name]
		}
	}
	return now
}

// Read parses the references of an object and reads the annotations about them, and the markers of
// the given names. It returns one PodSpec for each in o.
//
// Read ignores an annotation that is not a JSON object of texts, and an entry that is not a pin of
// what its container holds.
func Read(o *workload.Object, markers []string) []PodSpec {
	specs := make([]PodSpec, len(o.PodSpecs))
	records := o.Records().Annotations
	pins := Decode(records[workload.AnnotationPins])
	recorded := Decode(records[workload.AnnotationRefreshed])
	own := marker(o.Metadata.Annotations[workload.AnnotationRefresh])
	for i := range o.PodSpecs {
		spec := &o.PodSpecs[i]
		s := &specs[i]
		s.Spec = spec
		if o.Several && spec.Key != "" {
			s.Prefix = spec.Key + ":"
		}
		s.Markers = markersOf(o, spec, own, markers)
		s.Recorded = recordedMarkers(recorded, s.Prefix, markers)
		s.Images = make([]Image, len(spec.References))
		for j, r := range spec.References {
			image := &s.Images[j]
			image.Reference, image.Key = r, s.Prefix+r.Name
			image.Parsed, image.ParseErr = ref.Parse(r.Text)
			s.addEntry(image, pins[image.Key])
		}
	}
	return specs
}

// addEntry sets the entry of an image, if the annotation's text is a pin of it.
func (s *PodSpec) addEntry(image *Image, text string) {
	held := image.Parsed
	if text == "" || !held.Pinned() {
		return
	}
	entry, err := ref.Parse(text)
	if err != nil || !entry.Pinned() {
		return
	}
	if held.Digest() != entry.Digest() {
		s.Outdated = true
		return
	}
	// If the author has written another tag beside the digest, the pin stands for that tag, and the
	// entry does not count.
	retagged := held.Tagged() && held.Text() != entry.Text()
	if held.Repository() == entry.Repository() && !retagged {
		image.Entry = entry
	}
}

// Decode decodes an annotation. It returns nil if the annotation is not a JSON object of texts, or
// is longer than the API server allows.
func Decode(annotation string) (texts map[string]string) {
	if annotation == "" || len(annotation) > workload.MaxAnnotations ||
		json.Unmarshal([]byte(annotation), &texts) != nil {
		return nil
	}
	return texts
}
