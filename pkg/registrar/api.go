// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

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
	operations, err := difference(live, want)
	if len(operations) == 0 {
		return live, err
	}
	// An update of another version than the one that was read is a conflict.
	version := jsonpatch.NewOperation("replace", "/metadata/resourceVersion", live.ResourceVersion)
	patch, err := json.Marshal(slices.Insert(operations, 0, version))
	if err != nil {
		return live, err
	}
	written, err := r.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(
		ctx, r.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: "tagpin-webhook"})
	if err != nil {
		return live, fmt.Errorf("writing registration %s: %w", r.Name, err)
	}
	r.updates.WithLabelValues("updated").Inc()
	r.note(written)
	r.Log.Info("registration updated", "name", r.Name)
	return written, nil
}

// difference returns a JSON patch. Unlike an update, it keeps fields that are newer than the Go
// types.
func difference(live, want *configuration) ([]jsonpatch.Operation, error) {
	before, errLive := json.Marshal(live)
	after, errWant := json.Marshal(want)
	if err := errors.Join(errLive, errWant); err != nil {
		return nil, err
	}
	return jsonpatch.CreatePatch(before, after)
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
