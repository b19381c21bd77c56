// SPDX-License-Identifier: Apache-2.0

package workload

import "slices"

// WithEphemeralContainers returns the pod that the API server stores when o, the stored pod, is
// updated through the subresource ephemeralcontainers: o with the ephemeral containers of update.
//
// The API server drops everything else in the update after it has called the webhooks, so the rest
// of the update must not influence any decision (k8s.io/kubernetes
// pkg/registry/core/pod/strategy.go, dropNonEphemeralContainerUpdates).
//
// The result has no controller: a person adds ephemeral containers, and not the controller of the
// pod. The references of ephemeral containers point into update. Neither object is changed.
func (o *Object) WithEphemeralContainers(update *Object) *Object {
	stored := *o
	stored.Metadata.Controller = Owner{}
	if len(o.PodSpecs) == 0 {
		return &stored
	}
	spec := o.PodSpecs[0]
	spec.References = slices.DeleteFunc(slices.Clone(spec.References),
		func(r Reference) bool { return r.Ephemeral })
	for i := range update.PodSpecs {
		for _, r := range update.PodSpecs[i].References {
			if r.Ephemeral {
				spec.References = append(spec.References, r)
			}
		}
	}
	stored.PodSpecs = []PodSpec{spec}
	return &stored
}
