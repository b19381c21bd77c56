// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/pkg/registration"
)

// hook is a registration in the API server: a MutatingWebhookConfiguration.
type hook struct {
	client kubernetes.Interface
	name   string // empty: none
}

// read returns the registration, or nothing where there is none.
func (h *hook) read(ctx context.Context) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	if h.name == "" {
		return nil, nil
	}
	live, err := h.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, h.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading registration %s: %w", h.name, err)
	}
	return live, nil
}

// write makes the registration as it is wanted, if it still is as it was read. Where it is so already, it returns live itself.
func (h *hook) write(ctx context.Context, live, want *admissionregistrationv1.MutatingWebhookConfiguration) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	operations := difference(live, want)
	if len(operations) == 0 {
		return live, nil
	}
	// It holds for the version that was read: an update of another one is a conflict.
	patch, err := json.Marshal(append([]operation{{"replace", "/metadata/resourceVersion", live.ResourceVersion}}, operations...))
	if err != nil {
		return nil, err
	}
	written, err := h.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Patch(ctx, h.name, types.JSONPatchType, patch,
		metav1.PatchOptions{FieldManager: "tagpin-webhook"})
	if err != nil {
		return nil, fmt.Errorf("writing registration %s: %w", h.name, err)
	}
	return written, nil
}

// operation is one of a JSON patch (RFC 6902). "add" replaces what is there.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// difference is a patch of the fields that the server owns. It touches no others, not even those that are younger than the
// types here, as an update would.
func difference(live, want *admissionregistrationv1.MutatingWebhookConfiguration) []operation {
	var operations []operation
	add := func(path string, before, after any) {
		if !equality.Semantic.DeepEqual(before, after) {
			operations = append(operations, operation{"add", path, after})
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

// ours are the webhooks of a registration that are tagpin's.
func ours(live *admissionregistrationv1.MutatingWebhookConfiguration) []*admissionregistrationv1.MutatingWebhook {
	if live == nil {
		return nil
	}
	var list []*admissionregistrationv1.MutatingWebhook
	for i := range live.Webhooks {
		if registration.IsMode(live.Webhooks[i].Name) {
			list = append(list, &live.Webhooks[i])
		}
	}
	return list
}

// inert tells whether the registration calls for nothing: it has no rules, or is not there.
func inert(live *admissionregistrationv1.MutatingWebhookConfiguration) bool {
	for _, w := range ours(live) {
		if len(w.Rules) > 0 {
			return false
		}
	}
	return true
}

// rules are how many the registration's webhooks have, at least.
func rules(live *admissionregistrationv1.MutatingWebhookConfiguration) int {
	least := -1
	for _, w := range ours(live) {
		if n := len(w.Rules); least < 0 || n < least {
			least = n
		}
	}
	return max(least, 0)
}

// filling is what was put into which registration.
type filling struct {
	uid  types.UID
	with *registration.Registration
}

// is tells whether it was this.
func (f filling) is(other filling) bool {
	return f.uid == other.uid && reflect.DeepEqual(f.with, other.with)
}
