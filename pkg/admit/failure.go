// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// describe describes a failed lookup in one sentence: the container, the reference, the cause, and
// what to do.
func (a *answer) describe(o *pin.Outcome) string {
	verb := "pin"
	if o.Held.Pinned() {
		verb = "refresh"
	}
	if o.Reason == policy.TooLong {
		return fmt.Sprintf("%s: can't pin it: %v", describeName(o), o.Err)
	}
	return fmt.Sprintf("%s: can't %s %s: %v; %s", describeName(o), verb, o.Parsed, o.Err, a.advice(o))
}

// advice returns what to do about a failed lookup.
func (a *answer) advice(o *pin.Outcome) string {
	if o.Marker == workload.AnnotationRefresh && a.handler.OnFailure.Of(o.Err) == failure.Allow {
		return "change " + workload.AnnotationRefresh + " again later"
	}
	switch failure.Of(o.Err) {
	case failure.NotFound:
		return "check the image's name and tag"
	case failure.Unauthorized:
		id := a.request.Object.PodSpecs[o.PodSpec].Identity
		if len(id.PullSecrets) > 0 {
			return "check the image's name and the pod's imagePullSecrets"
		}
		return fmt.Sprintf("check the image's name, or give the pod or its service account %q "+
			"an image pull secret", cmp.Or(id.ServiceAccount, "default"))
	case failure.Invalid:
		return "ask the registry's operator, or write the digest into the manifest"
	}
	return "try again later, or write the digest into the manifest"
}

// describePlaceholder describes a placeholder in a Pod that no injector has replaced.
func describePlaceholder(o *pin.Outcome) string {
	return fmt.Sprintf("%s: no injector has replaced the placeholder %s; check that the injector "+
		"selects this pod, and that the name of its webhook configuration sorts before that of tagpin",
		describeName(o), o.Reference.Text)
}

// describeName returns the container or the volume of a reference.
func describeName(o *pin.Outcome) string {
	if name, ok := strings.CutPrefix(o.Reference.Name, "volume/"); ok && name != "" {
		return fmt.Sprintf("volume %q", name)
	}
	return fmt.Sprintf("container %q", o.Reference.Name)
}

// short returns the beginning of a pin's digest.
func short(r ref.Reference) string {
	const digits = 12
	d := r.Digest()
	return string(d.Algorithm()) + ":" + d.Encoded()[:digits]
}
