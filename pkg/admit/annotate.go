// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// annotate updates all of tagpin's annotations.
//
// The mode dry-run writes the proposed pins, and enforce removes them. The pins that tagpin made,
// and the markers that they were resolved for, are written if the request changes or refreshes an
// image. Otherwise they stay as they are.
func (b *builder) annotate() {
	object := &b.request.Object.Metadata
	switch b.handler.Mode {
	case policy.Propose:
		b.changes.PutTexts(object, workload.AnnotationProposedPins, b.proposals())
	case policy.Enforce:
		b.changes.Put(object, workload.AnnotationProposedPins, "")
	case policy.Keep: // a proposal stays
	}
	refreshed := func(o pin.Outcome) bool { return o.Reason == policy.Refresh }
	switch {
	case len(b.replacements) == 0 && !slices.ContainsFunc(b.answer.result.Outcomes, refreshed):
	case b.request.Object.Kind.IsJob() && b.request.Operation == policy.Update:
		b.restoreRecords()
	default:
		b.record()
	}
	for _, key := range b.changes.Omitted {
		b.warnings.add("tagpin: the annotation " + key + " would be too long, and is left out")
	}
}

// restoreRecords puts back the annotations of a Job byte for byte, because its pod template can't
// change.
func (b *builder) restoreRecords() {
	if b.request.Old == nil {
		return
	}
	for _, key := range []string{workload.AnnotationPins, workload.AnnotationRefreshed} {
		b.changes.Put(b.request.Object.Records(), key, b.request.Old.Records().Annotations[key])
	}
}

// record writes the pins and the markers of all pod specs.
func (b *builder) record() {
	m, old, kind := b.request.Object.Records(), b.request.Old.Records(), b.request.Object.Kind
	pins, markers := map[string]string{}, map[string]string{}
	putMarkers := b.changes.Update
	rest := b.answer.result.Outcomes // in the order of the pod specs
	for i := range b.answer.result.PodSpecs {
		s, n := &b.answer.result.PodSpecs[i], 0
		for n < len(rest) && rest[n].PodSpec == i {
			n++
		}
		b.addEntries(pins, s, rest[:n])
		recorded, resolved := b.markers(s, rest[:n])
		if resolved { // what was recorded before is no longer true
			putMarkers = b.changes.Set
		}
		for name, value := range recorded {
			markers[s.Prefix+name] = value
		}
		rest = rest[n:]
	}
	b.changes.Update(m, old, workload.AnnotationPins, pins)
	if kind.IsPod() || kind.IsJob() { // they are never refreshed
		return
	}
	putMarkers(m, old, workload.AnnotationRefreshed, markers)
}

// addEntries adds the entries of a pod spec with some outcomes to pins.
func (b *builder) addEntries(
	pins map[string]string, s *annotation.PodSpec, outcomes []pin.Outcome,
) {
	adopts := b.adopts(s, outcomes)
	for i := range outcomes {
		o := &outcomes[i]
		if o.Reason == policy.Sticky && o.Old.Entry.IsZero() && !adopts {
			continue
		}
		if entry := cmp.Or(o.NewEntry, o.HeldEntry, o.Entry); !entry.IsZero() {
			pins[o.Key] = entry.String()
		}
	}
}

// adopts reports whether pins of a pod spec that were put back get an entry, though the old object
// has none for them: somebody else has written them. An entry in a pod template would roll it out,
// so one is added only if the template changes anyway. The other modes make no new entries.
func (b *builder) adopts(s *annotation.PodSpec, outcomes []pin.Outcome) bool {
	object := b.request.Object
	switch {
	case b.handler.Mode != policy.Enforce:
		return false
	case object.Records().Pointer == object.Metadata.Pointer: // and not in a pod template
		return true
	case s.Old == nil || s.Spec.Hash != s.Old.Spec.Hash:
		return true
	}
	return slices.ContainsFunc(outcomes, func(o pin.Outcome) bool {
		return o.Reason != policy.Sticky && o.Reason != policy.Unchanged
	})
}

// markers returns the markers to record for a pod spec with some outcomes, and whether an image of
// it was resolved.
//
// If so, these are the markers of the new object, and no others. A restart whose lookups failed is
// recorded too: the pins that it kept are those of the new revision, which an undo brings back. If
// no image was resolved, the record stays, so that a manifest which is applied again without the
// markers changes nothing.
func (b *builder) markers(
	s *annotation.PodSpec, outcomes []pin.Outcome,
) (_ annotation.Markers, resolved bool) {
	recorded := s.Recorded
	if s.Old != nil {
		recorded = s.Old.Recorded
	}
	failed := false
	for i := range outcomes {
		o := &outcomes[i]
		resolved = resolved || o.Action == policy.Resolve
		failed = failed || o.Err != nil && o.Marker == workload.AnnotationRefresh
	}
	switch {
	case !resolved || b.handler.Mode != policy.Enforce:
		return recorded, false
	case !failed:
		return s.Markers, true
	}
	// onFailure allows the failure: the pins are still those of the marker before.
	markers := maps.Clone(s.Markers)
	for _, name := range []string{workload.AnnotationRefresh, annotation.OwnRefresh} {
		delete(markers, name)
		if value := recorded[name]; value != "" {
			markers[name] = value
		}
	}
	return markers, true
}

// proposals returns the annotation of proposed pins: the pins that a creation of the object would
// make now, and the former proposals for texts that stay.
func (b *builder) proposals() map[string]string {
	var former map[string]string
	if b.request.Old != nil {
		old := b.request.Old.Metadata.Annotations
		former = annotation.Decode(old[workload.AnnotationProposedPins])
	}
	proposals := map[string]string{}
	for i := range b.answer.result.Outcomes {
		o := &b.answer.result.Outcomes[i]
		switch {
		case o.Err != nil:
			proposals[o.Key] = "error: " + o.Err.Error()
		case o.Reason == policy.Unreplaced:
			proposals[o.Key] = "error: " + describePlaceholder(o)
		case o.Action == policy.Resolve:
			proposals[o.Key] = o.Pin.String()
		case o.Reason == policy.Unchanged && o.Held.IsZero() && former[o.Key] != "":
			proposals[o.Key] = former[o.Key]
		}
	}
	return proposals
}
