// SPDX-License-Identifier: Apache-2.0

package admit

import (
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
	case len(a.images) == 0 && !slices.ContainsFunc(a.result.Outcomes, refreshed):
	case a.request.Object.Kind == jobKind && a.request.Operation == policy.Update:
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
	for _, known := range a.result.Annotations {
		if known.Old == nil {
			continue
		}
		for _, key := range []string{workload.AnnotationPins, workload.AnnotationRefreshed} {
			a.changes.Put(known.Metadata, key, known.Old.Annotations[key])
		}
	}
}

// records are what tagpin's annotations in one metadata are to have.
type records struct {
	metadata, old *workload.Metadata // old is nil if there was none
	pins, markers map[string]string
}

// record writes the pins and the markers of all pod specs. Pod specs that follow each other may
// share one metadata.
func (a *answer) record() {
	var r *records
	rest := a.result.Outcomes
	for i := range a.result.Annotations {
		known := &a.result.Annotations[i]
		if r == nil || r.metadata != known.Metadata {
			a.write(r)
			r = &records{metadata: known.Metadata, pins: map[string]string{}, markers: map[string]string{}}
		}
		if known.Old != nil {
			r.old = known.Old
		}
		n := 0 // the outcomes are in the order of the pod specs
		for n < len(rest) && rest[n].PodSpec == i {
			n++
		}
		own := rest[:n]
		rest = rest[n:]
		for i := range own {
			switch o := &own[i]; {
			case !o.NewEntry.IsZero():
				r.pins[o.Key] = o.NewEntry.String()
			case !o.Entry.IsZero():
				r.pins[o.Key] = o.Entry.String()
			}
		}
		for name, value := range a.markers(known, own) {
			r.markers[known.Prefix+name] = value
		}
	}
	a.write(r)
}

// write writes the records of one metadata. r may be nil.
func (a *answer) write(r *records) {
	if r == nil {
		return
	}
	a.changes.Update(r.metadata, r.old, workload.AnnotationPins, r.pins)
	if kind := a.request.Object.Kind; kind != podKind && kind != jobKind { // they are never refreshed
		a.changes.Update(r.metadata, r.old, workload.AnnotationRefreshed, r.markers)
	}
}

// markers returns the markers to record for a pod spec with some outcomes.
//
// If an image was resolved, these are the markers of the new object. A restart whose lookups failed
// is recorded too: the pins that it kept are those of the new revision, which an undo brings back.
// If no image was resolved, the record stays, so that a manifest which is applied again without the
// markers changes nothing.
func (a *answer) markers(known *policy.Annotations, outcomes []pin.Outcome) annotation.Markers {
	resolved, failed := false, false
	for i := range outcomes {
		o := &outcomes[i]
		resolved = resolved || o.Action == policy.Resolve
		failed = failed || o.Err != nil && o.Marker == workload.AnnotationRefresh
	}
	if !resolved || a.handler.Mode != policy.Enforce {
		return known.Recorded
	}
	if !failed {
		return known.Markers
	}
	// onFailure allows the failure: the pins are still those of the marker before.
	markers := maps.Clone(known.Markers)
	delete(markers, workload.AnnotationRefresh)
	if value := known.Recorded[workload.AnnotationRefresh]; value != "" {
		markers[workload.AnnotationRefresh] = value
	}
	return markers
}

// recorded reports whether the object came with a record of pins.
func (a *answer) recorded() bool {
	return slices.ContainsFunc(a.result.Annotations, func(known policy.Annotations) bool {
		return known.Metadata.Annotations[workload.AnnotationPins] != ""
	})
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
		case o.Action == policy.Resolve && o.Err != nil:
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
