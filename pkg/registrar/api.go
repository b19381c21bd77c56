// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tagpin/tagpin/pkg/registration"
)

// A registration is a configuration with one webhook for each mode.
type (
	configuration = admissionregistrationv1.MutatingWebhookConfiguration
	webhook       = admissionregistrationv1.MutatingWebhook
)

// read returns the registration, or nil if it does not exist.
func (r *Registrar) read(ctx context.Context) (*configuration, error) {
	if r.Name == "" {
		return nil, nil
	}
	configurations := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	live, err := configurations.Get(ctx, r.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading registration %s: %w", r.Name, err)
	}
	return live, nil
}

// write changes the registration from live to want, if the API server still has live, and returns
// the result. If nothing differs, or with an error, it returns live itself.
func (r *Registrar) write(
	ctx context.Context, live, want *configuration,
) (*configuration, error) {
	patch, err := difference(live, want)
	if patch == nil {
		return live, err
	}
	written, err := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(
		ctx, r.Name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{FieldManager: "tagpin-webhook"})
	if err != nil {
		return live, fmt.Errorf("writing registration %s: %w", r.Name, err)
	}
	r.updates.WithLabelValues("updated").Inc()
	r.note(written)
	r.Log.Info("registration updated", "name", r.Name)
	return written, nil
}

// difference returns a strategic merge patch, or nil if nothing differs. Unlike an update, the
// patch keeps fields that are newer than the Go types. It has the version that was read, so that
// the API server reports a conflict if that is not the latest one. A JSON patch would fail before
// that check, as an invalid one, if the place that it changes is gone.
func difference(live, want *configuration) ([]byte, error) {
	if equality.Semantic.DeepEqual(live, want) {
		return nil, nil
	}
	return client.StrategicMergeFrom(live, client.MergeFromWithOptimisticLock{}).Data(want)
}

// webhooks returns the webhooks of a registration that are tagpin's.
func webhooks(live *configuration) (list []*webhook) {
	if live == nil {
		return nil
	}
	for i := range live.Webhooks {
		if registration.IsWebhook(live.Webhooks[i].Name) {
			list = append(list, &live.Webhooks[i])
		}
	}
	return list
}

// countRules returns the number of rules of the webhook with the fewest and of the one with the
// most.
func countRules(live *configuration) (fewest, most int) {
	for i, w := range webhooks(live) {
		n := len(w.Rules)
		if i == 0 || n < fewest {
			fewest = n
		}
		most = max(most, n)
	}
	return fewest, most
}
