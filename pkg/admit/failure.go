// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"errors"
	"fmt"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// FailurePolicy is what becomes of an object whose look-up failed. The zero value denies.
type FailurePolicy string

// The failure policies.
const (
	Deny  FailurePolicy = "deny"  // the object is denied
	Defer FailurePolicy = "defer" // a workload is admitted as it is, its pods are denied until they resolve
	Allow FailurePolicy = "allow" // admitted unpinned
)

// OnFailure is a policy for each class of failure.
type OnFailure struct {
	NotFound, Unauthorized, Unavailable, Invalid FailurePolicy
}

// of is the policy for an error of a Resolver.
func (f OnFailure) of(err error) FailurePolicy {
	var p FailurePolicy
	switch class(err) {
	case notFound:
		p = f.NotFound
	case unauthorized:
		p = f.Unauthorized
	case invalid:
		p = f.Invalid
	default:
		p = f.Unavailable
	}
	if p == "" {
		return Deny
	}
	return p
}

// The classes of failure, as onFailure and the metrics name them.
const (
	notFound     = "notFound"
	unauthorized = "unauthorized"
	unavailable  = "unavailable"
	invalid      = "invalid"
)

// class is the class that err is in. What is in none was cut off by the budget: another time it may go well.
func class(err error) string {
	switch {
	case errors.Is(err, resolve.ErrNotFound):
		return notFound
	case errors.Is(err, resolve.ErrUnauthorized):
		return unauthorized
	case errors.Is(err, resolve.ErrInvalid):
		return invalid
	}
	return unavailable
}

// describe is a failed look-up in one sentence: the container, the reference, the cause and what to do.
func (a *answer) describe(out *pin.Outcome) string {
	verb := "pin"
	if out.Held.Pinned() {
		verb = "refresh"
	}
	if out.Reason == policy.TooLong {
		return fmt.Sprintf("%s: can't pin it: %v", place(out.Reference.Name), out.Err)
	}
	return fmt.Sprintf("%s: can't %s %s: %v; %s",
		place(out.Reference.Name), verb, out.Parsed, out.Err, a.advice(out))
}

// advice is what to do about a failed look-up.
func (a *answer) advice(out *pin.Outcome) string {
	if out.Marker == workload.AnnotationRefresh && a.failures.of(out.Err) == Allow {
		return "change " + workload.AnnotationRefresh + " again later"
	}
	switch class(out.Err) {
	case notFound:
		return "check the image's name and tag"
	case unauthorized:
		id := a.request.Object.PodSpecs[out.PodSpec].Identity
		account := id.ServiceAccount
		if account == "" {
			account = "default"
		}
		if len(id.PullSecrets) > 0 {
			return "check the image's name and the pod's imagePullSecrets"
		}
		return fmt.Sprintf("check the image's name, or give the pod or its service account %q an image pull secret", account)
	case invalid:
		return "ask the registry's operator, or write the digest into the manifest"
	}
	return "try again later, or write the digest into the manifest"
}

// place is a reference's place in words.
func place(name string) string {
	const prefix = "volume/"
	if len(name) > len(prefix) && name[:len(prefix)] == prefix {
		return fmt.Sprintf("volume %q", name[len(prefix):])
	}
	return fmt.Sprintf("container %q", name)
}
