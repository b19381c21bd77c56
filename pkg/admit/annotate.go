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
func (a *answer) annotate() {
	object := &a.request.Object.Metadata
	switch a.handler.Mode {
	case policy.Propose:
		a.changes.PutTexts(object, workload.AnnotationProposedPins, a.proposals())
	case policy.Enforce:
		a.changes.Put(object, workload.AnnotationProposedPins, "")
	case policy.Keep: // a proposal stays
	}
	refreshed := func(o pin.Outcome) bool { return o.Reason == policy.Refresh }
	switch {
	case len(a.replacements) == 0 && !slices.ContainsFunc(a.result.Outcomes, refreshed):
	case a.request.Object.Kind.IsJob() && a.request.Operation == policy.Update:
		a.restoreRecords()
	default:
		a.record()
	}
	for _, key := range a.changes.Omitted {
		a.warnings.add("tagpin: the annotation " + key + " would be too long, and is left out")
	}
}

// restoreRecords puts back the annotations of a Job byte for byte, because its pod template can't
// change.
func (a *answer) restoreRecords() {
	if a.request.Old == nil {
		return
	}
	for _, key := range []string{workload.AnnotationPins, workload.AnnotationRefreshed} {
		a.changes.Put(a.request.Object.Records(), key, a.request.Old.Records().Annotations[key])
	}
}

// record writes the pins and the markers of all pod specs.
func (a *answer) record() {
	m, old, kind := a.request.Object.Records(), a.request.Old.Records(), a.request.Object.Kind
	pins, markers := map[string]string{}, map[string]string{}
	putMarkers := a.changes.Update
	rest := a.result.Outcomes // in the order of the pod specs
	for i := range a.result.PodSpecs {
		s, n := &a.result.PodSpecs[i], 0
		for n < len(rest) && rest[n].PodSpec == i {
			n++
		}
		a.addEntries(pins, s, rest[:n])
		recorded, resolved := a.markers(s, rest[:n])
		if resolved { // what was recorded before is no longer true
			putMarkers = a.changes.Set
		}
		for name, value := range recorded {
			markers[s.Prefix+name] = value
		}
		rest = rest[n:]
	}
	a.changes.Update(m, old, workload.AnnotationPins, pins)
	if kind.IsPod() || kind.IsJob() { // they are never refreshed
		return
	}
	putMarkers(m, old, workload.AnnotationRefreshed, markers)
}

// addEntries adds the entries of a pod spec with some outcomes to pins.
func (a *answer) addEntries(
	pins map[string]string, s *annotation.PodSpec, outcomes []pin.Outcome,
) {
	adopts := a.adopts(s, outcomes)
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
func (a *answer) adopts(s *annotation.PodSpec, outcomes []pin.Outcome) bool {
	object := a.request.Object
	switch {
	case a.handler.Mode != policy.Enforce:
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
func (a *answer) markers(
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
	case !resolved || a.handler.Mode != policy.Enforce:
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
func (a *answer) proposals() map[string]string {
	var former map[string]string
	if a.request.Old != nil {
		old := a.request.Old.Metadata.Annotations
		former = annotation.Decode(old[workload.AnnotationProposedPins])
	}
	proposals := map[string]string{}
	for i := range a.result.Outcomes {
		o := &a.result.Outcomes[i]
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
