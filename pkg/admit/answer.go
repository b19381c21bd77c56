// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// answer turns the outcomes of one object into the answer to its review.
type answer struct {
	handler *Handler
	rv      *review
	request pin.Request
	result  pin.Result
	crowded bool // the review was cut short because too many others were waiting

	images   []operation // patches of image fields
	changes  annotation.Changes
	warnings warnings
	denials  []string
	pins     map[string]string // for the audit annotation
}

// response returns the answer: a denial if there is a reason for one, and otherwise a patch.
func (a *answer) response() *admissionv1.AdmissionResponse {
	a.pins = map[string]string{}
	for i := range a.result.Outcomes {
		a.outcome(&a.result.Outcomes[i])
	}
	ephemeral := a.rv.SubResource == ephemeralContainers
	if !ephemeral { // the API server would discard changes of anything else
		a.annotate()
	}
	r := allowed(a.rv)
	if a.request.Object.Metadata.Controller.IsZero() || ephemeral { // a controller reads no warnings
		r.Warnings = a.warnings.list
	}
	if len(a.denials) > 0 {
		code := int32(http.StatusForbidden)
		if a.crowded {
			code = http.StatusTooManyRequests
		}
		deny(r, sentences(a.denials), code)
		return r
	}
	if patch := encodePatch(a.images, a.changes.All); patch != nil {
		patchType := admissionv1.PatchTypeJSONPatch
		r.Patch, r.PatchType = patch, &patchType
	}
	recorded := a.request.Object.Records().Annotations[workload.AnnotationPins] != ""
	r.AuditAnnotations = annotation.Audit(a.pins, recorded)
	return r
}

// outcome adds one reference's part of the answer.
func (a *answer) outcome(o *pin.Outcome) {
	mode := a.handler.Mode
	switch {
	case o.Reason == policy.Invalid:
		a.warn(o, "the kubelet will refuse this image: %v", o.ParseErr)
	case o.Reason == policy.Unreplaced:
		a.unreplaced(o)
	case o.Err != nil:
		a.failed(o)
	case !o.Before.IsZero():
		text := o.Parsed.Text()
		a.warn(o, "%s is still the image of %s, since the digest beside it has not changed; "+
			"if that is not meant, write the digest of %s, or remove the digest", text, o.Before, text)
	case o.Pin.IsZero():
	case mode == policy.Propose && o.Action == policy.Resolve:
		a.warn(o, "would be pinned: %s", o.Pin)
	default:
		a.replace(o, o.Pin)
		s := &a.result.PodSpecs[o.PodSpec]
		if o.Reason == policy.Sticky && s.Spec.Hash != s.Old.Spec.Hash {
			how := ""
			if mode == policy.Enforce { // the other modes refresh nothing
				how = "; to resolve it anew: " + a.howToRefresh()
			}
			a.warn(o, "%s kept at %s though the template has changed%s",
				o.Reference.Text, short(o.Pin), how)
		}
	}
	if o.Stale {
		a.warn(o, "the registry can't be reached: %s pinned as it was known before", o.Reference.Text)
	}
}

// replace puts a pin into the patch, unless the field has it already, and into the audit
// annotation.
func (a *answer) replace(o *pin.Outcome, value ref.Reference) {
	if text := value.String(); text != o.Reference.Text {
		a.images = append(a.images, operation{Op: "replace", Path: o.Reference.Pointer, Value: text})
	}
	a.pins[o.Key] = o.NewEntry.String()
}

// unreplaced adds a placeholder in a Pod that no injector has replaced. No registry was asked for
// it: nobody in the cluster has chosen the image that it would have.
func (a *answer) unreplaced(o *pin.Outcome) {
	switch a.handler.Mode {
	case policy.Enforce:
		a.denials = append(a.denials, describePlaceholder(o))
	case policy.Propose:
		a.warnings.add(describePlaceholder(o))
	case policy.Keep: // it makes no pins
	}
}

// failed adds a lookup that failed. onFailure says what happens, with two exceptions. A refresh
// that tagpin.dev/refresh asks for is a deployment, which is not deferred: it would run the old
// image, and nobody would try again. A restart has to work in an incident, so it keeps the old pin.
func (a *answer) failed(o *pin.Outcome) {
	sentence := a.describe(o)
	then := a.handler.OnFailure.Of(o.Err)
	switch {
	case a.handler.Mode == policy.Propose:
		a.warnings.add(sentence)
	case o.Marker == workload.AnnotationRefresh && then != failure.Allow:
		a.denials = append(a.denials, sentence)
	case o.Held.Pinned(): // it was to be refreshed
		// The pin is put back if the manifest does not have it. Otherwise the workload would stay without
		// one.
		if o.Held.String() != o.Reference.Text {
			o.NewEntry = o.Parsed.WithDigest(o.Held.Digest())
			a.replace(o, o.Held)
		}
		a.warnings.add(sentence + "; kept at " + short(o.Held))
	case then == failure.Deny, then == failure.Defer && a.request.Object.Kind.IsPod():
		a.denials = append(a.denials, sentence)
	case then == failure.Defer:
		a.warnings.add(sentence + "; admitted as it is, its pods wait until it resolves")
	default:
		a.warnings.add(sentence + "; admitted unpinned")
	}
}

// howToRefresh returns what a person can do to have the pins resolved again.
func (a *answer) howToRefresh() string {
	kind := a.request.Object.Kind
	change := "change the pod template's annotation " + workload.AnnotationRefresh
	if a.request.Object.Custom { // a CRD may prune that of the template
		change = "change the object's annotation " + workload.AnnotationRefresh
	}
	if kind.IsJob() {
		return "make a new Job"
	}
	if a.handler.Pinner.Policy.IgnoreRestart || kind.Group != "apps" {
		return change
	}
	switch kind.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		// The kinds of k8s.io/kubectl/pkg/polymorphichelpers/objectrestarter.go.
		return "kubectl rollout restart, or " + change
	}
	return change
}
