// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownAgain is how long the server waits after the API server has not allowed it to set the owner: a
// role may come later.
const ownAgain = time.Hour

// own makes the registration a dependent of the server's namespace, so that the garbage collector
// deletes it when the namespace is gone: a registration without a server refuses every request that
// it names. Nothing else depends on it: if the API server does not allow it, that is logged, and tried
// again after ownAgain.
func (u *upkeep) own(
	ctx context.Context, live *admissionregistrationv1.MutatingWebhookConfiguration,
) (written *admissionregistrationv1.MutatingWebhookConfiguration, err error) {
	if u.disowned == live.UID && time.Since(u.disownedAt) < ownAgain {
		return live, nil
	}
	written, err = u.setOwner(ctx, live)
	switch {
	case err == nil:
		return written, nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		if u.disowned == live.UID {
			u.disownedAt = time.Now()
			return live, nil // the log has it
		}
		u.disowned, u.disownedAt = live.UID, time.Now()
		u.log.Error(err, "the registration will outlive its namespace: delete it before the namespace",
			"name", u.hook.name)
		return live, nil
	}
	return live, fmt.Errorf("making registration %s depend on its namespace: %w", u.hook.name, err)
}

// setOwner makes the namespace the owner, or, for Argo CD, makes it none.
func (u *upkeep) setOwner(
	ctx context.Context, live *admissionregistrationv1.MutatingWebhookConfiguration,
) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	if u.owner.UID == "" {
		namespace, err := u.hook.client.CoreV1().Namespaces().Get(ctx, u.namespace, metav1.GetOptions{})
		if err != nil {
			return nil, fmt.Errorf("reading namespace %s: %w", u.namespace, err)
		}
		u.owner = metav1.OwnerReference{
			APIVersion: "v1", Kind: "Namespace", Name: namespace.Name, UID: namespace.UID,
		}
	}
	tracked := trackedByArgo(live)
	if !tracked && slices.Contains(live.OwnerReferences, u.owner) {
		return live, nil
	}
	want := live.DeepCopy()
	// A namespace of that name that is gone is no owner: the collector would delete the registration.
	formerly := func(r metav1.OwnerReference) bool {
		return r.APIVersion == u.owner.APIVersion && r.Kind == u.owner.Kind && r.Name == u.owner.Name
	}
	want.OwnerReferences = slices.DeleteFunc(want.OwnerReferences, formerly)
	if !tracked {
		want.OwnerReferences = append(want.OwnerReferences, u.owner)
	}
	return u.update(ctx, live, want)
}

// trackedByArgo reports whether Argo CD manages the registration. Argo CD deletes no object that has an
// owner (argo-cd#4764), so the registration would outlive its Application. The label
// app.kubernetes.io/instance counts only if Helm did not install the object, since charts set it too.
func trackedByArgo(live *admissionregistrationv1.MutatingWebhookConfiguration) bool {
	return live.Annotations["argocd.argoproj.io/tracking-id"] != "" ||
		live.Labels["argocd.argoproj.io/instance"] != "" ||
		live.Labels["app.kubernetes.io/instance"] != "" && live.Annotations["meta.helm.sh/release-name"] == ""
}
