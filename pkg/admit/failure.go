// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/workload"
)

// describe describes a failed lookup in one sentence: the container, the reference, the cause, and
// what to do.
func (b *builder) describe(o *pin.Outcome) string {
	if o.Reason == policy.TooLong {
		return describeTooLong(o)
	}
	return fmt.Sprintf("%s: can't %s %s: %v; %s",
		describeName(o), verb(o), o.Parsed, o.Err, b.advice(o))
}

// warnFailed adds a warning about a failed lookup. It begins with what became of the object, if
// that is not empty, because the end of a long warning is cut. It has the registry's host once.
func (b *builder) warnFailed(o *pin.Outcome, became string) {
	if became != "" {
		became += ": "
	}
	if o.Reason == policy.TooLong {
		b.warnings.add("%s%s", became, describeTooLong(o))
		return
	}
	text, cause := o.Parsed.String(), o.Err.Error()
	if host := o.Parsed.Host(); strings.HasPrefix(text, host+"/") {
		if rest, ok := strings.CutPrefix(cause, host); ok {
			cause = strings.TrimLeft(rest, ": ")
		}
	}
	b.warnings.add("%s%s: can't %s %s: %s; %s",
		became, describeName(o), verb(o), image(text), cause, b.advice(o))
}

// verb returns what a lookup was for.
func verb(o *pin.Outcome) string {
	if o.Held.Pinned() {
		return "refresh"
	}
	return "pin"
}

// describeTooLong describes a reference that is too long to be pinned.
func describeTooLong(o *pin.Outcome) string {
	return fmt.Sprintf("%s: can't pin it: %v", describeName(o), o.Err)
}

// advice returns what to do about a failed lookup.
func (b *builder) advice(o *pin.Outcome) string {
	if o.Marker == workload.AnnotationRefresh && b.action(o) == failure.Allow {
		return "change " + workload.AnnotationRefresh + " again later"
	}
	spec := b.spec(o)
	account := cmp.Or(spec.Identity.ServiceAccount, "default")
	switch failure.Of(o.Err) {
	case failure.NotFound:
		if spec.GuessesIdentity() {
			return fmt.Sprintf("check the image's name and tag or, if the image is private, give the "+
				"service account %q an image pull secret", account)
		}
		return "check the image's name and tag"
	case failure.Unauthorized:
		switch {
		case errors.Is(o.Err, registry.ErrForeignRealm):
			return "ask whoever runs tagpin in this cluster to add that host to the registry's " +
				"authHosts, if they belong together"
		case b.handler.cloudOff(o) != "" && len(spec.Identity.PullSecrets) == 0:
			return fmt.Sprintf("check the image's name; nodes may pull it with an identity of the cloud "+
				"that tagpin does not have: ask whoever runs tagpin in this cluster, or give the service "+
				"account %q an image pull secret", account)
		case len(spec.Identity.PullSecrets) > 0 && o.Field:
			return "check the image's name and the object's imagePullSecrets"
		case len(spec.Identity.PullSecrets) > 0:
			return "check the image's name and the pod's imagePullSecrets"
		case o.Field:
			return fmt.Sprintf("check the image's name, or give the service account %q an image pull "+
				"secret", account)
		}
		return fmt.Sprintf("check the image's name, or give the pod or its service account %q "+
			"an image pull secret", account)
	case failure.Invalid:
		return "ask the registry's operator, or write the digest into the manifest"
	}
	return "try again later, or write the digest into the manifest"
}

// cloudOff returns the cloud whose identity tagpin was not given, if a lookup failed for want of a
// credential in one of its registries, or "".
func (h *Handler) cloudOff(o *pin.Outcome) string {
	if h.CloudOff == nil || failure.Of(o.Err) != failure.Unauthorized {
		return ""
	}
	return h.CloudOff(o.Parsed.Host())
}

// describePlaceholder describes a placeholder in a Pod that no injector has replaced.
func describePlaceholder(o *pin.Outcome) string {
	return fmt.Sprintf("%s: no injector has replaced the placeholder %s; check that the injector "+
		"selects this pod, and that the name of its webhook configuration sorts before that of tagpin",
		describeName(o), o.Reference.Text)
}

// describeName returns the container or the volume of a reference, or the field that holds it.
func describeName(o *pin.Outcome) string {
	if o.Field {
		return fmt.Sprintf("field %q", o.Reference.Name)
	}
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
