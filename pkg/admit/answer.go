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
	policy   *policy.Policy
	mode     pin.Mode
	failures OnFailure
	rv       *review
	request  pin.Request
	outcomes []pin.Outcome

	patch    patch
	warnings warnings
	denials  []string
	pins     map[string]string // for the audit annotation
	crowded  bool              // the review was cut short for lack of room
	changed  []bool            // of each pod spec: more than images differs from the template before
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
		a.annotate(&object.Metadata, workload.AnnotationProposedPins, a.proposals())
	}
	if a.mode == pin.Enforce {
		a.annotate(&object.Metadata, workload.AnnotationProposedPins, nil)
	}
	a.record()
}

// outcome makes one reference's part of the answer.
func (a *answer) outcome(o *pin.Outcome) {
	switch {
	case o.Reason == policy.Invalid:
		a.warn(o, "the kubelet will refuse this image: %v", o.Decision.Err)
	case o.Reason == policy.Unreplaced:
		a.unreplaced(o)
	case o.Err != nil:
		a.failed(o)
	case !o.Before.IsZero():
		text := o.Parsed.Text()
		a.warn(o, "%s is still the image of %s, since the digest beside it has not changed; "+
			"if that is not meant, write the digest of %s, or remove the digest", text, o.Before, text)
	case o.Pin.IsZero():
	case a.mode == pin.DryRun && o.Action == policy.Resolve:
		a.warn(o, "would be pinned: %s", o.Pin)
	default:
		if text := o.Pin.String(); text != o.Reference.Text {
			a.patch.replace(o.Reference.Pointer, text)
		}
		a.pins[policy.EntryKey(a.request.Object, o.PodSpec, o.Reference.Name)] = o.Entry.String()
		if o.Reason == policy.Sticky && a.changed[o.PodSpec] {
			a.warn(o, "%s kept at %s though the template has changed%s", o.Reference.Text, short(o.Pin), a.howToRefresh(o.PodSpec))
		}
	}
	if o.Stale {
		a.warn(o, "the registry can't be reached: %s pinned as it was known before", o.Reference.Text)
	}
}

// failed is a look-up that gave no digest. A refresh that the annotation AnnotationRefresh asks for
// is a deploy: deferred, it would run the old image, and nobody would try again. A restart has to
// work in an incident: it keeps the pin, whatever the failure.
func (a *answer) failed(o *pin.Outcome) {
	sentence := a.describe(o)
	then := a.failures.of(o.Err)
	deploy := o.Marker == workload.AnnotationRefresh
	switch {
	case a.mode == pin.DryRun:
		a.warnings.add(sentence)
	case deploy && then != Allow:
		a.denials = append(a.denials, sentence)
	case o.Held.Pinned(): // it was to be refreshed
		a.hold(o)
		a.warnings.add(sentence + "; kept at " + short(o.Held))
	case then == Deny, then == Defer && a.isPod():
		a.denials = append(a.denials, sentence)
	case then == Defer:
		a.warnings.add(sentence + "; admitted as it is, its pods wait until it resolves")
	default:
		a.warnings.add(sentence + "; admitted unpinned")
	}
}

// hold keeps the pin that stood there before a refresh that failed, also where the manifest has it no more: unpinned, the
// workload would stay so.
func (a *answer) hold(o *pin.Outcome) {
	if text := o.Held.String(); text != o.Reference.Text {
		a.patch.replace(o.Reference.Pointer, text)
		o.Entry = o.Parsed.WithDigest(o.Held.Digest())
		a.pins[policy.EntryKey(a.request.Object, o.PodSpec, o.Reference.Name)] = o.Entry.String()
	}
}

// howToRefresh is what a person has to do to have a pin resolved anew. Modes that make no pins have no way.
func (a *answer) howToRefresh(i int) string {
	if a.mode != pin.Enforce {
		return ""
	}
	return "; to resolve it anew: " + a.refreshing(i)
}

func (a *answer) refreshing(i int) string {
	change := "change the pod template's annotation " + workload.AnnotationRefresh
	if !a.request.Object.PodSpecs[i].Annotated { // whose CRD may prune the template's
		change = "change the object's annotation " + workload.AnnotationRefresh
	}
	switch {
	case a.isJob():
		return "make a new Job"
	case a.policy.IgnoreRestart || !a.restartable():
		return change
	}
	return "kubectl rollout restart, or " + change
}

// restartable tells whether kubectl rollout restart knows the kind
// (k8s.io/kubectl/pkg/polymorphichelpers/objectrestarter.go).
func (a *answer) restartable() bool {
	switch a.request.Object.Kind {
	case workload.Kind{Group: "apps", Kind: "Deployment"}, workload.Kind{Group: "apps", Kind: "StatefulSet"}, workload.Kind{Group: "apps", Kind: "DaemonSet"}:
		return true
	}
	return false
}

// short is a pin's digest, as people tell them apart.
func short(r ref.Reference) string {
	const digits = 12
	d := r.Digest()
	return string(d.Algorithm()) + ":" + d.Encoded()[:digits]
}

func (a *answer) isPod() bool { return a.request.Object.Kind == workload.Kind{Kind: "Pod"} }

func (a *answer) isJob() bool {
	return a.request.Object.Kind == workload.Kind{Group: "batch", Kind: "Job"}
}

// proposals is the value of the annotation of proposed pins: what a creation now would make, and what was proposed
// before for texts that stay.
func (a *answer) proposals() map[string]string {
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
		case o.Reason == policy.Unreplaced:
			proposals[key] = "error: " + describePlaceholder(&o)
		case o.Action == policy.Resolve:
			proposals[key] = o.Pin.String()
		case o.Reason == policy.Unchanged && o.Held == (ref.Reference{}) && before[key] != "":
			proposals[key] = before[key]
		}
	}
	return proposals
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
