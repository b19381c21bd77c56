// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"net/http"

	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// builder turns the outcomes of one object into the answer to its review.
type builder struct {
	handler  *Handler
	rv       *review
	request  pin.Request
	cutShort bool // by errTooManySlow

	answer       answer
	replacements []operation // of image texts
	changes      annotation.Changes
	warnings     warnings
	denials      []string
	pins         map[string]string // for the audit annotation
}

// build returns the answer: a denial if there is a reason for one, and otherwise a patch.
func (b *builder) build() answer {
	b.pins = map[string]string{}
	for i := range b.answer.result.Outcomes {
		b.outcome(&b.answer.result.Outcomes[i])
	}
	ephemeral := b.rv.SubResource == ephemeralContainers
	if !ephemeral { // the API server would discard changes of anything else
		b.annotate()
	}
	if b.request.Object.Metadata.Controller.IsZero() { // a controller reads no warnings
		b.answer.Warnings = b.warnings.list
	}
	if len(b.denials) > 0 {
		code := int32(http.StatusForbidden)
		if b.cutShort || b.answer.result.Impatient {
			code = http.StatusTooManyRequests
		}
		deny(b.answer.AdmissionResponse, b.rv, sentences(b.denials), code)
		return b.answer
	}
	if patch := encodePatch(b.replacements, b.changes.All); patch != nil {
		patchType := admissionv1.PatchTypeJSONPatch
		b.answer.Patch, b.answer.PatchType = patch, &patchType
	}
	recorded := b.request.Object.Records().Annotations[workload.AnnotationPins] != ""
	b.answer.AuditAnnotations = annotation.Audit(b.pins, recorded)
	return b.answer
}

// outcome adds one reference's part of the answer.
func (b *builder) outcome(o *pin.Outcome) {
	mode := b.handler.Mode
	switch {
	case o.Reason == policy.Invalid && o.Field: // see policy.Decision
	case o.Reason == policy.Invalid:
		b.warn(o, "the kubelet will refuse this image: %v", o.ParseErr)
	case o.Reason == policy.Unreplaced:
		b.unreplaced(o)
	case o.Err != nil:
		b.failed(o)
	case !o.Before.IsZero():
		text := image(o.Parsed.Text())
		b.warn(o, "%s is still the image of %s, since the digest beside it has not changed; "+
			"if that is not meant, write the digest of %s, or remove the digest",
			text, image(o.Before.String()), text)
	case o.Pin.IsZero():
	case mode == policy.Propose && o.Action == policy.Resolve:
		b.warn(o, "would be pinned: %s", image(o.Pin.String()))
	default:
		b.replace(o, o.Pin, o.NewEntry)
		s := &b.answer.result.PodSpecs[o.PodSpec]
		if o.Reason == policy.Sticky && s.Spec.Hash != s.Old.Spec.Hash {
			how := ""
			if mode == policy.Enforce { // the other modes refresh nothing
				how = "; to resolve it anew: " + b.howToRefresh()
			}
			what := "template"
			if o.Field {
				what = "object"
			}
			b.warn(o, "%s kept at %s though the %s has changed%s",
				image(o.Reference.Text), short(o.Pin), what, how)
		}
	}
	if o.Stale {
		b.warn(o, "no answer from the registry now: %s pinned as it was known before",
			image(o.Reference.Text))
	}
}

// replace puts a pin into the patch, unless the field has it already, and its entry into the audit
// annotation.
func (b *builder) replace(o *pin.Outcome, value, entry ref.Reference) {
	if text := value.String(); text != o.Reference.Text {
		op := operation{Op: "replace", Path: o.Reference.Pointer, Value: text}
		b.replacements = append(b.replacements, op)
	}
	b.pins[o.Key] = entry.String()
}

// unreplaced adds a placeholder in a Pod that no injector has replaced. No registry was asked for
// it: nobody in the cluster has chosen the image that it would have.
func (b *builder) unreplaced(o *pin.Outcome) {
	switch b.handler.Mode {
	case policy.Enforce:
		b.deny(byPlaceholder, describePlaceholder(o))
	case policy.Propose:
		b.warnings.add("%s", describePlaceholder(o))
	case policy.Keep: // it makes no pins
	}
}

// failed adds a lookup that failed. onFailure says what happens (action), with three exceptions. A
// refresh that tagpin.dev/refresh asks for is a deployment, which is not deferred: it would run the
// old image, and nobody would try again. A restart has to work in an incident, so it keeps the old
// pin. A pod that its controller did not wait for is denied: the controller tries again, and
// nothing is known about the registry.
func (b *builder) failed(o *pin.Outcome) {
	then := b.action(o)
	switch {
	case b.handler.Mode == policy.Propose:
		b.warnFailed(o, "")
	case b.answer.result.Impatient && b.request.Object.Kind.IsPod() &&
		failure.Of(o.Err) == failure.Unavailable:
		b.denyFailed(o)
	case o.Marker == workload.AnnotationRefresh && then != failure.Allow:
		b.denyFailed(o)
	case o.Held.Pinned(): // it was to be refreshed
		// The pin is put back if the manifest does not have it. Otherwise the workload would stay without
		// one.
		if o.Held.String() != o.Reference.Text {
			b.replace(o, o.Held, o.HeldEntry)
		}
		b.warnFailed(o, "kept at "+short(o.Held))
	case then == failure.Deny, then == failure.Defer && b.request.Object.Kind.IsPod():
		b.denyFailed(o)
	case then == failure.Defer:
		b.answer.unpinned = cmp.Or(b.answer.unpinned, then)
		b.warnFailed(o, "admitted as it is; its pods wait until the image resolves")
	default:
		b.answer.unpinned = failure.Allow
		b.warnFailed(o, "admitted unpinned")
	}
}

// denyFailed denies the object for a lookup that failed.
func (b *builder) denyFailed(o *pin.Outcome) {
	why := byLookup
	switch {
	case o.Reason == policy.TooLong:
		why = byLength
	case b.cutShort:
		why = bySlow
	}
	b.deny(why, b.describe(o))
}

// deny denies the object, with a sentence for its sender and a word for the log.
func (b *builder) deny(why reason, sentence string) {
	b.denials = append(b.denials, message("%s", sentence))
	b.answer.reason = cmp.Or(b.answer.reason, why)
}

// action returns what onFailure says about a failed lookup. If the pull identity was a guess, not
// found may mean not allowed, and the milder of the two actions is taken.
func (b *builder) action(o *pin.Outcome) failure.Action {
	then := b.handler.OnFailure.Of(o.Err)
	if failure.Of(o.Err) == failure.NotFound && b.spec(o).GuessesIdentity() {
		then = then.Milder(b.handler.OnFailure.Of(failure.Unauthorized))
	}
	return then
}

// spec returns the pod spec that a reference is in.
func (b *builder) spec(o *pin.Outcome) *workload.PodSpec {
	return &b.request.Object.PodSpecs[o.PodSpec]
}

// howToRefresh returns what a person can do to have the pins resolved again.
func (b *builder) howToRefresh() string {
	kind := b.request.Object.Kind
	change := "change the pod template's annotation " + workload.AnnotationRefresh
	if b.request.Object.Custom { // a CRD may prune that of the template
		change = "change the object's annotation " + workload.AnnotationRefresh
	}
	if kind.IsJob() {
		return "make a new Job"
	}
	if b.handler.Pinner.Policy.IgnoreRestart || kind.Group != "apps" {
		return change
	}
	switch kind.Kind {
	case "Deployment", "StatefulSet", "DaemonSet":
		// The kinds of k8s.io/kubectl/pkg/polymorphichelpers/objectrestarter.go.
		return "kubectl rollout restart, or " + change
	}
	return change
}
