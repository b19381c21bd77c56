// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// MaxAnnotations is the greatest size of all annotations of one object or template, in bytes.
const MaxAnnotations = workload.MaxAnnotations

// Entries are the pins that tagpin made in one pod spec: container, or volume/<name>, to
// text@digest. They keep the tag, whatever the output is.
type Entries map[string]ref.Reference

// PinRecord is what tagpin's annotations say about the pins of one pod spec.
type PinRecord struct {
	Entries Entries // the pins that tagpin made and that are still there
	Record  Markers // the markers that the pins were resolved for
	// Outdated is true if an entry has another digest than its container: the annotations are
	// about other pins than those of the pod spec.
	Outdated bool
}

// Read returns the record of each pod spec of an object, or nil if o is nil.
//
// Anybody may write the annotations, so they only say which of the pins may be replaced, and never
// which image to run. Read ignores an annotation that is not a JSON object, and an entry that is
// not a pin of what its container holds. It decodes each annotation once, even if many pod specs
// share it.
func Read(o *workload.Object) []PinRecord {
	if o == nil {
		return nil
	}
	records := make([]PinRecord, len(o.PodSpecs))
	var decoded *workload.Metadata
	var pins, markers map[string]string
	for i := range o.PodSpecs {
		if m := AnnotationMetadata(o, i); m != decoded {
			decoded = m
			pins = Decode(m.Annotations[workload.AnnotationPins])
			markers = Decode(m.Annotations[workload.AnnotationRefreshed])
		}
		if pins != nil {
			records[i].addEntries(o, i, pins)
		}
		records[i].Record = recordedMarkers(o, i, markers)
	}
	return records
}

// Decode decodes an annotation that is a JSON object of strings. Anything else, and anything longer
// than MaxAnnotations, yields nil.
func Decode(annotation string) (texts map[string]string) {
	if annotation == "" || len(annotation) > MaxAnnotations ||
		json.Unmarshal([]byte(annotation), &texts) != nil {
		return nil
	}
	return texts
}

// addEntries adds the entries of pins that belong to pod spec i.
func (p *PinRecord) addEntries(o *workload.Object, i int, pins map[string]string) {
	spec := &o.PodSpecs[i]
	p.Entries = make(Entries, len(spec.References))
	for _, r := range spec.References {
		entry, err := ref.Parse(pins[EntryKey(o, i, r.Name)])
		if err != nil || !entry.Pinned() {
			continue
		}
		held, err := ref.Parse(r.Text)
		if err != nil || !held.Pinned() {
			continue
		}
		if held.Digest() != entry.Digest() {
			p.Outdated = true
			continue
		}
		// If the author has written another tag beside the digest, the pin stands for that tag,
		// and the entry does not count.
		retagged := held.Tagged() && held.Text() != entry.Text()
		if held.Repository() == entry.Repository() && !retagged {
			p.Entries[r.Name] = entry
		}
	}
}

// AnnotationMetadata returns the metadata that tagpin's annotations of pod spec i are in. It is the
// one beside the pod spec, so that pods inherit the annotations, or the object's own if a CRD may
// prune the metadata of its templates.
func AnnotationMetadata(o *workload.Object, i int) *workload.Metadata {
	if o.PodSpecs[i].Annotated {
		return &o.PodSpecs[i].Metadata
	}
	return &o.Metadata
}

// EntryKey returns the key of a reference of pod spec i in tagpin's annotations. It is the
// reference's name. If several pod specs share one annotation, or may come to share it, the key of
// the pod spec and a colon precede the name.
func EntryKey(o *workload.Object, i int, name string) string {
	if s := &o.PodSpecs[i]; s.Annotated || !s.Shared {
		return name
	}
	return o.PodSpecs[i].Key + ":" + name
}

// bothRecords are the records of both objects of a request.
type bothRecords struct {
	now, old []PinRecord
	oldIndex []int // for each pod spec of the new object, its index in the old one, or -1
}

// readRecords reads the annotations of both objects once.
func readRecords(in Input) bothRecords {
	if in.Operation != Update {
		in.Old = nil
	}
	return bothRecords{now: Read(in.Object), old: Read(in.Old), oldIndex: Before(in.Object, in.Old)}
}

// Before returns, for each pod spec of an object, the index of the same pod spec in the old object,
// or -1 if there is none. old may be nil.
func Before(o, old *workload.Object) []int {
	before := make([]int, len(o.PodSpecs))
	var byKey map[string]int
	if old != nil {
		byKey = make(map[string]int, len(old.PodSpecs))
		for j := range old.PodSpecs {
			byKey[old.PodSpecs[j].Key] = j
		}
	}
	for i := range o.PodSpecs {
		j, ok := byKey[o.PodSpecs[i].Key]
		if !ok {
			j = -1
		}
		before[i] = j
	}
	return before
}
