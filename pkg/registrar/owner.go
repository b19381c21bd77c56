// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ownerRetry is the time after which the Registrar tries to set the owner again if the API server
// did not allow it, because a role may be added later.
const ownerRetry = time.Hour

// own makes the registration a dependent of the server's namespace, so that the garbage collector
// deletes it after the namespace. A registration without a server refuses every request that its
// rules match. If the API server does not allow the change, own logs that and returns no error.
func (r *Registrar) own(ctx context.Context) error {
	if r.ownerRefused == r.live.UID && time.Since(r.ownerTried) < ownerRetry {
		return nil
	}
	err := r.setOwner(ctx)
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err):
		r.Log.Error(err, "the registration will outlive its namespace: "+
			"delete it before the namespace", "name", r.Name)
		r.ownerRefused, r.ownerTried = r.live.UID, time.Now()
		return nil
	}
	return fmt.Errorf("making registration %s depend on its namespace: %w", r.Name, err)
}

// setOwner makes the namespace the owner. If Argo CD manages the registration, it removes the
// owner.
func (r *Registrar) setOwner(ctx context.Context) error {
	if r.owner.UID == "" {
		namespace, err := r.Client.CoreV1().Namespaces().Get(ctx, r.Namespace, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("reading namespace %s: %w", r.Namespace, err)
		}
		r.owner = metav1.OwnerReference{
			APIVersion: "v1", Kind: "Namespace", Name: namespace.Name, UID: namespace.UID,
		}
	}
	argo := managedByArgo(r.live)
	if !argo && slices.Contains(r.live.OwnerReferences, r.owner) {
		return nil
	}
	want := r.live.DeepCopy()
	// A reference to a former namespace of that name would make the garbage collector delete the
	// registration.
	sameName := func(o metav1.OwnerReference) bool {
		return o.APIVersion == r.owner.APIVersion && o.Kind == r.owner.Kind && o.Name == r.owner.Name
	}
	want.OwnerReferences = slices.DeleteFunc(want.OwnerReferences, sameName)
	if !argo {
		want.OwnerReferences = append(want.OwnerReferences, r.owner)
	}
	return r.write(ctx, want)
}

// managedByArgo reports whether Argo CD manages the registration. Argo CD deletes no object that
// has an owner (argo-cd#4764), so the registration would outlive its Application. The label
// app.kubernetes.io/instance only counts if Helm did not install the object, since charts set it
// too.
func managedByArgo(live *configuration) bool {
	return live.Annotations["argocd.argoproj.io/tracking-id"] != "" ||
		live.Labels["argocd.argoproj.io/instance"] != "" ||
		live.Labels["app.kubernetes.io/instance"] != "" &&
			live.Annotations["meta.helm.sh/release-name"] == ""
}
