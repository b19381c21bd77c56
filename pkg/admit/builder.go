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

// answer turns the outcomes of one object into the answer to its review.
type answer struct {
	handler  *Handler
	rv       *review
	request  pin.Request
	result   pin.Result
	cutShort bool // by errTooManySlow

	replacements []operation // of image texts
	changes      annotation.Changes
	warnings     warnings
	denials      []string
	pins         map[string]string // for the audit annotation
	unpinned     failure.Action    // as in reply
	reason       reason            // of the first denial
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
		if a.cutShort {
			code = http.StatusTooManyRequests
		}
		deny(r, sentences(a.denials), code)
		return r
	}
	if patch := encodePatch(a.replacements, a.changes.All); patch != nil {
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
	case o.Reason == policy.Invalid && o.Field: // see policy.Decision
	case o.Reason == policy.Invalid:
		a.warn(o, "the kubelet will refuse this image: %v", o.ParseErr)
	case o.Reason == policy.Unreplaced:
		a.unreplaced(o)
	case o.Err != nil:
		a.failed(o)
	case !o.Before.IsZero():
		text := image(o.Parsed.Text())
		a.warn(o, "%s is still the image of %s, since the digest beside it has not changed; "+
			"if that is not meant, write the digest of %s, or remove the digest",
			text, image(o.Before.String()), text)
	case o.Pin.IsZero():
	case mode == policy.Propose && o.Action == policy.Resolve:
		a.warn(o, "would be pinned: %s", image(o.Pin.String()))
	default:
		a.replace(o, o.Pin, o.NewEntry)
		s := &a.result.PodSpecs[o.PodSpec]
		if o.Reason == policy.Sticky && s.Spec.Hash != s.Old.Spec.Hash {
			how := ""
			if mode == policy.Enforce { // the other modes refresh nothing
				how = "; to resolve it anew: " + a.howToRefresh()
			}
			what := "template"
			if o.Field {
				what = "object"
			}
			a.warn(o, "%s kept at %s though the %s has changed%s",
				image(o.Reference.Text), short(o.Pin), what, how)
		}
	}
	if o.Stale {
		a.warn(o, "no answer from the registry now: %s pinned as it was known before",
			image(o.Reference.Text))
	}
}

// replace puts a pin into the patch, unless the field has it already, and its entry into the audit
// annotation.
func (a *answer) replace(o *pin.Outcome, value, entry ref.Reference) {
	if text := value.String(); text != o.Reference.Text {
		op := operation{Op: "replace", Path: o.Reference.Pointer, Value: text}
		a.replacements = append(a.replacements, op)
	}
	a.pins[o.Key] = entry.String()
}

// unreplaced adds a placeholder in a Pod that no injector has replaced. No registry was asked for
// it: nobody in the cluster has chosen the image that it would have.
func (a *answer) unreplaced(o *pin.Outcome) {
	switch a.handler.Mode {
	case policy.Enforce:
		a.deny(byPlaceholder, describePlaceholder(o))
	case policy.Propose:
		a.warnings.add("%s", describePlaceholder(o))
	case policy.Keep: // it makes no pins
	}
}

// failed adds a lookup that failed. onFailure says what happens (action), with two exceptions. A
// refresh that tagpin.dev/refresh asks for is a deployment, which is not deferred: it would run the
// old image, and nobody would try again. A restart has to work in an incident, so it keeps the old
// pin.
func (a *answer) failed(o *pin.Outcome) {
	then := a.action(o)
	switch {
	case a.handler.Mode == policy.Propose:
		a.warnFailed(o, "")
	case o.Marker == workload.AnnotationRefresh && then != failure.Allow:
		a.denyFailed(o)
	case o.Held.Pinned(): // it was to be refreshed
		// The pin is put back if the manifest does not have it. Otherwise the workload would stay without
		// one.
		if o.Held.String() != o.Reference.Text {
			a.replace(o, o.Held, o.HeldEntry)
		}
		a.warnFailed(o, "kept at "+short(o.Held))
	case then == failure.Deny, then == failure.Defer && a.request.Object.Kind.IsPod():
		a.denyFailed(o)
	case then == failure.Defer:
		a.unpinned = cmp.Or(a.unpinned, then)
		a.warnFailed(o, "admitted as it is; its pods wait until the image resolves")
	default:
		a.unpinned = failure.Allow
		a.warnFailed(o, "admitted unpinned")
	}
}

// denyFailed refuses the object for a lookup that failed.
func (a *answer) denyFailed(o *pin.Outcome) {
	why := byLookup
	switch {
	case o.Reason == policy.TooLong:
		why = byLength
	case a.cutShort:
		why = bySlow
	}
	a.deny(why, a.describe(o))
}

// deny refuses the object, with a sentence for its sender and a word for the log.
func (a *answer) deny(why reason, sentence string) {
	a.denials = append(a.denials, message("%s", sentence))
	a.reason = cmp.Or(a.reason, why)
}

// action returns what onFailure says about a failed lookup. If the pull identity was a guess, not
// found may mean not allowed, and the milder of the two actions is taken.
func (a *answer) action(o *pin.Outcome) failure.Action {
	then := a.handler.OnFailure.Of(o.Err)
	if failure.Of(o.Err) == failure.NotFound && a.spec(o).GuessesIdentity() {
		then = then.Milder(a.handler.OnFailure.Of(failure.Unauthorized))
	}
	return then
}

// spec returns the pod spec that a reference is in.
func (a *answer) spec(o *pin.Outcome) *workload.PodSpec {
	return &a.request.Object.PodSpecs[o.PodSpec]
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
