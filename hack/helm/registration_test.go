// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/registration"
)

// TestRegistration compares the chart's with what tagpin-webhook manifests prints: it lacks what a server puts in, and else is
// the same.
func TestRegistrationIsInert(t *testing.T) {
	for values, r := range map[string]registration.Registration{
		"{}": {},
		"{namespaces: opt-out, defaultMode: enforce, excludedNamespaces: [istio-system, kube-system, 'off']}": {
			Namespaces: registration.Namespaces{DefaultMode: "enforce", Excluded: []string{"istio-system", "kube-system", "off"}},
		},
		"{namespaces: opt-out}":                                                {Namespaces: registration.Namespaces{DefaultMode: "dry-run"}},
		"{pin: [pods], failurePolicy: Ignore}":                                 {PodsOnly: true, FailOpen: true},
		"{certificates: {mode: given, secret: tls, caBundle: " + quoted + "}}": {CABundle: []byte(pem)},
	} {
		t.Run(values, func(t *testing.T) {
			var text bytes.Buffer
			if err := r.WriteYAML(&text); err != nil {
				t.Fatal(err)
			}
			var want object
			if err := yaml.Unmarshal(text.Bytes(), &want); err != nil {
				t.Fatal(err)
			}
			for _, w := range want["webhooks"].([]any) {
				delete(w.(object), "rules")
				delete(w.(object), "matchConditions")
			}
			// Which image is to write the rules, the manifests alone know.
			want["metadata"].(object)["annotations"] = object{"tagpin.dev/image": "ghcr.io/tagpin/tagpin-webhook:latest"}
			if diff := cmp.Diff(want, rendered(t, values)["MutatingWebhookConfiguration zz-tagpin"]); diff != "" {
				t.Errorf("the chart's, -want +got:\n%s", diff)
			}
		})
	}
}

const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

var quoted = fmt.Sprintf("%q", pem)

// TestSelectors says which mode's webhook is called for which namespace: for each one at most, and for none of the system's.
func TestSelectors(t *testing.T) {
	const unlabelled = ""
	for _, tt := range []struct {
		values string
		want   map[string]string // mode by label; the rest is none
	}{
		{"{}", map[string]string{"enforce": "enforce", "dry-run": "dry-run", "keep": "keep"}},
		{"{defaultMode: enforce}", map[string]string{"enforce": "enforce", "dry-run": "dry-run", "keep": "keep"}},
		{"{namespaces: opt-out}", map[string]string{
			unlabelled: "dry-run", "typo": "dry-run", "enforce": "enforce", "dry-run": "dry-run", "keep": "keep",
		}},
		{"{namespaces: opt-out, defaultMode: enforce}", map[string]string{
			unlabelled: "enforce", "typo": "enforce", "enforce": "enforce", "dry-run": "dry-run", "keep": "keep",
		}},
		{"{keepOnly: true}", map[string]string{"enforce": "keep", "dry-run": "keep", "keep": "keep"}},
		{"{keepOnly: true, namespaces: opt-out}", map[string]string{
			unlabelled: "keep", "typo": "keep", "enforce": "keep", "dry-run": "keep", "keep": "keep",
		}},
	} {
		t.Run(tt.values, func(t *testing.T) {
			webhooks := rendered(t, tt.values)["MutatingWebhookConfiguration zz-tagpin"]["webhooks"].([]any)
			for _, label := range []string{unlabelled, "typo", "off", "enforce", "dry-run", "keep"} {
				for _, ns := range []string{"shop", "kube-system", "kube-node-lease", namespace} {
					want := tt.want[label]
					if ns != "shop" {
						want = ""
					}
					if got := called(t, webhooks, ns, label); got != want {
						t.Errorf("namespace %s with label %q calls %q, want %q", ns, label, got, want)
					}
				}
			}
		})
	}
}

func TestExcludedNamespaces(t *testing.T) {
	webhooks := rendered(t, "{namespaces: opt-out, excludedNamespaces: [istio-system, kube-system]}")["MutatingWebhookConfiguration zz-tagpin"]["webhooks"].([]any)
	for ns, want := range map[string]string{"istio-system": "", "kube-system": "", namespace: "", "shop": "dry-run"} {
		if got := called(t, webhooks, ns, ""); got != want {
			t.Errorf("namespace %s calls %q, want %q", ns, got, want)
		}
	}
}

// called are the modes whose webhooks select a namespace.
func called(t *testing.T, webhooks []any, ns, label string) string {
	t.Helper()
	var modes []string
	for _, w := range webhooks {
		text, err := yaml.Marshal(at(w, "namespaceSelector"))
		if err != nil {
			t.Fatal(err)
		}
		if selects(t, text, ns, label) {
			mode, _, _ := strings.Cut(at(w, "name").(string), ".")
			modes = append(modes, mode)
		}
	}
	return strings.Join(modes, " ")
}

// selects asks Kubernetes' own library.
func selects(t *testing.T, selector []byte, ns, mode string) bool {
	t.Helper()
	var s metav1.LabelSelector
	if err := yaml.UnmarshalStrict(selector, &s); err != nil {
		t.Fatal(err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		t.Fatal(err)
	}
	of := labels.Set{"kubernetes.io/metadata.name": ns}
	if mode != "" {
		of["tagpin.dev/mode"] = mode
	}
	return parsed.Matches(of)
}
