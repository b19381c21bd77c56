// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"strings"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// answer is built from the outcomes of one object.
type answer struct {
	mode     pin.Mode
	failures OnFailure
	rv       *review
	request  pin.Request
	outcomes []pin.Outcome

	patch    patch
	warnings warnings
	denials  []string
	pins     map[string]string // for the audit annotation
	changed  []bool            // of each pod spec; nil: nobody has asked
}

// build turns the outcomes into a patch, warnings and denials.
func (a *answer) build() {
	a.pins = map[string]string{}
	for i := range a.outcomes {
		a.outcome(&a.outcomes[i])
	}
	object := a.request.Object
	if a.rv.SubResource == ephemeralContainers {
		return // the API server discards changes of anything else
	}
	if a.mode == pin.DryRun {
		a.patch.annotate(&object.Metadata, workload.AnnotationProposedPins, a.proposals())
	}
	if a.mode == pin.Enforce {
		a.patch.annotate(&object.Metadata, workload.AnnotationProposedPins, "")
	}
	a.record()
}

// outcome makes one reference's part of the answer.
func (a *answer) outcome(o *pin.Outcome) {
	switch {
	case o.Reason == policy.Invalid:
		a.warn(o, "the kubelet will refuse this image: %v", o.Decision.Err)
	case o.Err != nil:
		a.failed(o)
	case o.Pin.IsZero():
	case a.mode == pin.DryRun && o.Action == policy.Resolve:
		a.warn(o, "would be pinned: %s", o.Pin)
	default:
		a.patch.replace(o.Reference.Pointer, o.Pin.String())
		a.pins[policy.EntryKey(a.request.Object, o.PodSpec, o.Reference.Name)] = o.Entry.String()
		if o.Reason == policy.Sticky && a.templateChanged(o.PodSpec) {
			a.warn(o, "%s kept at %s though the template has changed: a tag that moves is not followed on update; to move it, change the tag or write the digest",
				o.Reference.Text, o.Pin.Digest())
		}
	}
	if o.Stale {
		a.warn(o, "the registry can't be reached: %s pinned as it was known before", o.Reference.Text)
	}
}

// failed is a look-up that gave no digest.
func (a *answer) failed(o *pin.Outcome) {
	sentence := describe(a.request.Object, o)
	then := a.failures.of(o.Err)
	switch {
	case a.mode == pin.DryRun:
		a.warnings.add(sentence)
	case then == Deny, then == Defer && a.isPod():
		a.denials = append(a.denials, sentence)
	case then == Defer:
		a.warnings.add(sentence + "; admitted as it is, its pods wait until it resolves")
	default:
		a.warnings.add(sentence + "; admitted unpinned")
	}
}

func (a *answer) isPod() bool { return a.request.Object.Kind == workload.Kind{Kind: "Pod"} }

func (a *answer) isJob() bool {
	return a.request.Object.Kind == workload.Kind{Group: "batch", Kind: "Job"}
}

// templateChanged tells whether more than images differs from the old template.
func (a *answer) templateChanged(i int) bool {
	if a.isPod() {
		return false
	}
	if a.changed == nil {
		a.changed = workload.TemplatesChanged(a.rv.Old, a.rv.Object, a.request.Object.PodSpecs)
	}
	return a.changed[i]
}

// record brings the annotation of each pod spec that changes up to date.
func (a *answer) record() {
	if len(a.patch.operations) == 0 {
		return
	}
	object := a.request.Object
	entries := map[*workload.Metadata]map[string]string{}
	var order []*workload.Metadata
	for i := range object.PodSpecs {
		m := policy.AnnotationMetadata(object, i)
		if entries[m] == nil {
			entries[m] = map[string]string{}
			order = append(order, m)
		}
		for name, entry := range a.entries(i) {
			entries[m][policy.EntryKey(object, i, name)] = entry.String()
		}
	}
	for _, m := range order {
		value := encode(entries[m])
		if a.isJob() && a.request.Operation == policy.Update {
			value = a.oldAnnotation() // a Job's template can't change: put back byte for byte
		}
		a.patch.annotate(m, workload.AnnotationPins, value)
	}
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

// oldAnnotation is the pins annotation of the old object's only pod spec.
func (a *answer) oldAnnotation() string {
	old := a.request.Old
	if old == nil || len(old.PodSpecs) == 0 {
		return ""
	}
	return policy.AnnotationMetadata(old, 0).Annotations[workload.AnnotationPins]
}

// proposals is the value of the annotation of proposed pins: what a creation now would make, and what was proposed
// before for texts that stay.
func (a *answer) proposals() string {
	var before map[string]string
	if a.request.Old != nil {
		_ = json.Unmarshal([]byte(a.request.Old.Metadata.Annotations[workload.AnnotationProposedPins]), &before)
	}
	proposals := map[string]string{}
	for _, o := range a.outcomes {
		key := policy.EntryKey(a.request.Object, o.PodSpec, o.Reference.Name)
		switch {
		case o.Action == policy.Resolve && o.Err != nil:
			proposals[key] = "error: " + o.Err.Error()
		case o.Action == policy.Resolve:
			proposals[key] = o.Pin.String()
		case o.Reason == policy.Unchanged && o.Held == (ref.Reference{}) && before[key] != "":
			proposals[key] = before[key]
		}
	}
	return encode(proposals)
}

// encode is m as JSON with its keys in order, or empty.
func encode(m map[string]string) string {
	if len(m) == 0 {
		return ""
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(m) != nil {
		return ""
	}
	return strings.TrimSuffix(b.String(), "\n")
}
