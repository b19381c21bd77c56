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
	object := a.request.Object
	pins, markers := map[*workload.Metadata]map[string]string{}, map[*workload.Metadata]map[string]string{}
	var order []*workload.Metadata
	for i := range object.PodSpecs {
		m := policy.AnnotationMetadata(object, i)
		if pins[m] == nil {
			pins[m], markers[m] = map[string]string{}, map[string]string{}
			order = append(order, m)
		}
		for name, entry := range a.entries(i) {
			pins[m][policy.EntryKey(object, i, name)] = entry.String()
		}
		for marker, value := range a.markers(i) {
			markers[m][policy.EntryKey(object, i, marker)] = value
		}
	}
	for _, m := range order {
		a.annotate(m, workload.AnnotationPins, pins[m])
		if !a.isPod() && !a.isJob() { // which are never refreshed
			a.annotate(m, workload.AnnotationRefreshed, markers[m])
		}
	}
}

// maxAnnotation is the longest annotation that is written. The API server takes 256 KiB of all of an object's
// (k8s.io/apimachinery/pkg/api/validation), and refuses the object otherwise.
const maxAnnotation = 128 << 10

// annotate brings an annotation to the JSON of value. One that is too long is left out: an object of a thousand images is
// pinned all the same, and its pins can't be refreshed.
func (a *answer) annotate(m *workload.Metadata, key string, value map[string]string) {
	text := encode(value)
	if len(text) > maxAnnotation {
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
func (a *answer) entries(i int) policy.Entries {
	counted := policy.ReadEntries(a.request.Object, i)
	entries := policy.Entries{}
	for _, o := range a.outcomes {
		if o.PodSpec != i {
			continue
		}
		if entry, ok := counted[o.Reference.Name]; ok {
			entries[o.Reference.Name] = entry
		}
		if !o.Entry.IsZero() && (a.mode != pin.DryRun || o.Action == policy.Restore) { // a proposal is no pin
			entries[o.Reference.Name] = o.Entry
		}
	}
	return entries
}

// markers are those that the pins of one pod spec were resolved for: those of now where anything was resolved, else the
// ones before: a manifest that is applied again without them is to change nothing.
func (a *answer) markers(i int) policy.Markers {
	object, old := a.request.Object, a.request.Old
	for o := range a.outcomes {
		if a.outcomes[o].PodSpec == i && a.outcomes[o].Action == policy.Resolve && a.mode == pin.Enforce {
			return a.policy.ReadMarkers(object, i)
		}
	}
	if j, ok := policy.Before(object, i, old); ok {
		return policy.ReadRecord(old, j)
	}
	return policy.ReadRecord(object, i)
}
