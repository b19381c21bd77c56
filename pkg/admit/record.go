// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"fmt"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/workload"
)

// record brings the two annotations beside each pod spec up to date: the pins that tagpin made, and the markers that they
// were resolved for. Where nothing else is changed or was refreshed they stay as they are.
func (a *answer) record() {
	if len(a.patch.operations) == 0 && !a.refreshed() {
		return
	}
	if a.isJob() && a.request.Operation == policy.Update {
		a.putBack()
		return
	}
	object, old := a.request.Object, a.request.Old
	now, was, before := policy.Read(object), policy.Read(old), policy.Before(object, old)
	var beside *notes
	rest := a.outcomes
	for i := range object.PodSpecs {
		if m := policy.AnnotationMetadata(object, i); beside == nil || m != beside.metadata {
			a.write(beside)
			beside = &notes{metadata: m, pins: map[string]string{}, markers: map[string]string{}}
		}
		stood := now[i].Record
		if j := before[i]; j >= 0 {
			stood = was[j].Record
			beside.old = policy.AnnotationMetadata(old, j)
		}
		var own []pin.Outcome
		own, rest = outcomesOf(i, rest)
		for name, entry := range a.entries(own, now[i].Entries) {
			beside.pins[policy.EntryKey(object, i, name)] = entry.String()
		}
		for marker, value := range a.markers(i, own, stood) {
			beside.markers[policy.EntryKey(object, i, marker)] = value
		}
	}
	a.write(beside)
}

// notes are what is to stand in one metadata.
type notes struct {
	metadata, old *workload.Metadata // old: what it was; may be nil
	pins, markers map[string]string
}

// outcomesOf cuts those of pod spec i off the front: they are in the order of pod specs.
func outcomesOf(i int, outcomes []pin.Outcome) (own, rest []pin.Outcome) {
	n := 0
	for n < len(outcomes) && outcomes[n].PodSpec == i {
		n++
	}
	return outcomes[:n], outcomes[n:]
}

// write writes notes; nil has none.
func (a *answer) write(n *notes) {
	if n == nil {
		return
	}
	a.rewrite(n, workload.AnnotationPins, n.pins)
	if !a.isPod() && !a.isJob() { // which are never refreshed
		a.rewrite(n, workload.AnnotationRefreshed, n.markers)
	}
}

// rewrite is annotate, but for what stands or stood there and tells all of value: it is that, byte for byte. Entries that count
// no more, or another spelling, would make another template, and roll it out.
func (a *answer) rewrite(n *notes, key string, value map[string]string) {
	texts := []string{n.metadata.Annotations[key]}
	if n.old != nil {
		texts = append(texts, n.old.Annotations[key])
	}
	for _, text := range texts {
		if text != "" && holds(policy.Decode(text), value) {
			a.patch.annotate(n.metadata, key, text)
			return
		}
	}
	a.annotate(n.metadata, key, value)
}

// holds tells whether all of some is in all.
func holds(all, some map[string]string) bool {
	for k, v := range some {
		if all[k] != v {
			return false
		}
	}
	return true
}

// maxAnnotation is the longest annotation that is written: there are others.
const maxAnnotation = policy.MaxAnnotations / 2

// annotate brings an annotation to the JSON of value. One that the API server would refuse the object for is left out: an
// object of a thousand images is pinned all the same, and its pins can't be refreshed.
func (a *answer) annotate(m *workload.Metadata, key string, value map[string]string) {
	text := encode(value)
	if len(text) > maxAnnotation || a.patch.size(m, key, text) > policy.MaxAnnotations {
		a.warnings.add(fmt.Sprintf("tagpin: the annotation %s would be too long, and is left out", key))
		text = ""
	}
	a.patch.annotate(m, key, text)
}

// putBack is for a Job, whose template can't change: its annotations are as they were, byte for byte.
func (a *answer) putBack() {
	old := a.request.Old
	if old == nil || len(old.PodSpecs) == 0 || len(a.request.Object.PodSpecs) == 0 {
		return
	}
	was := policy.AnnotationMetadata(old, 0).Annotations
	for _, key := range []string{workload.AnnotationPins, workload.AnnotationRefreshed} {
		a.patch.annotate(policy.AnnotationMetadata(a.request.Object, 0), key, was[key])
	}
}

func (a *answer) refreshed() bool {
	for i := range a.outcomes {
		if a.outcomes[i].Reason == policy.Refresh {
			return true
		}
	}
	return false
}

// entries are the pins of one pod spec that tagpin made: those that counted before and still do, and the new ones.
func (a *answer) entries(outcomes []pin.Outcome, counted policy.Entries) policy.Entries {
	entries := policy.Entries{}
	for i := range outcomes {
		o := &outcomes[i]
		if entry, ok := counted[o.Reference.Name]; ok {
			entries[o.Reference.Name] = entry
		}
		if !o.Entry.IsZero() && (a.mode != pin.DryRun || o.Action == policy.Restore) { // a proposal is no pin
			entries[o.Reference.Name] = o.Entry
		}
	}
	return entries
}

// markers are those that the pins of pod spec i were resolved for: those of now where anything
// was resolved, else the ones that stood there: a manifest that is applied again without them is
// to change nothing. A restart whose pins were kept is recorded too: they are the pins of that
// revision, which an undo brings back.
func (a *answer) markers(i int, outcomes []pin.Outcome, stood policy.Markers) policy.Markers {
	resolved, lost := false, false
	for o := range outcomes {
		resolved = resolved || outcomes[o].Action == policy.Resolve
		lost = lost || outcomes[o].Err != nil && outcomes[o].Marker == workload.AnnotationRefresh
	}
	if !resolved || a.mode != pin.Enforce {
		return stood
	}
	markers := a.policy.ReadMarkers(a.request.Object, i)
	if lost { // onFailure allows it: the pins are still those of the value before
		delete(markers, workload.AnnotationRefresh)
		if value := stood[workload.AnnotationRefresh]; value != "" {
			markers[workload.AnnotationRefresh] = value
		}
	}
	return markers
}
