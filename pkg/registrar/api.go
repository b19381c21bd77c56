// SPDX-License-Identifier: Apache-2.0

package registrar

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
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
	operations := difference(live, want)
	if len(operations) == 0 {
		return live, nil
	}
	// An update of another version than the one that was read is a conflict.
	version := operation{"replace", "/metadata/resourceVersion", live.ResourceVersion}
	patch, err := json.Marshal(append([]operation{version}, operations...))
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

// operation is an operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// difference returns a patch of the fields that the server owns. Unlike an update, it keeps fields
// that are newer than the Go types.
func difference(live, want *configuration) []operation {
	var operations []operation
	add := func(path string, before, after any) {
		if !equality.Semantic.DeepEqual(before, after) {
			operations = append(operations, operation{"add", path, after}) // replaces a value
		}
	}
	if len(live.Annotations) == 0 {
		add("/metadata/annotations", live.Annotations, want.Annotations)
	} else {
		// In a JSON pointer, ~1 stands for a slash.
		at := "/metadata/annotations/" + strings.ReplaceAll(writtenBy, "/", "~1")
		add(at, live.Annotations[writtenBy], want.Annotations[writtenBy])
	}
	add("/metadata/ownerReferences", live.OwnerReferences, want.OwnerReferences)
	for i := range want.Webhooks {
		was, is, at := &live.Webhooks[i], &want.Webhooks[i], fmt.Sprintf("/webhooks/%d/", i)
		add(at+"clientConfig/caBundle", was.ClientConfig.CABundle, is.ClientConfig.CABundle)
		add(at+"rules", was.Rules, is.Rules)
		add(at+"matchConditions", was.MatchConditions, is.MatchConditions)
	}
	return operations
}

// webhooks returns the webhooks of a registration that are tagpin's.
func webhooks(live *configuration) (list []*webhook) {
	if live == nil {
		return nil
	}
	for i := range live.Webhooks {
		if registration.IsMode(live.Webhooks[i].Name) {
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
