// SPDX-License-Identifier: Apache-2.0

package workload

// WithEphemeralContainers returns what the API server stores when a pod is updated through its
// subresource ephemeralcontainers: the pod as it was, o, with the ephemeral containers of the
// update. The API server drops the rest of the update after the webhooks, so it must not decide
// anything (k8s.io/kubernetes pkg/registry/core/pod/strategy.go, dropNonEphemeralContainerUpdates).
//
// Pointers of ephemeral containers are those of the update. Neither object is changed.
func (o *Object) WithEphemeralContainers(update *Object) *Object {
	stored := *o
	if len(o.PodSpecs) == 0 {
		return &stored
	}
	spec := o.PodSpecs[0]
	spec.References = nil
	for _, r := range o.PodSpecs[0].References {
		if !r.Ephemeral {
			spec.References = append(spec.References, r)
		}
	}
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
