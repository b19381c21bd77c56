// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/registration"
)

// TestRegistration compares the registration of the chart with the output of tagpin-webhook
// manifests. They must be the same, except that the chart leaves out what a server adds.
func TestRegistration(t *testing.T) {
	excluded := []string{"istio-system", "kube-system", "off"}
	for values, r := range map[string]registration.Registration{
		"{}": {},
		"{namespaces: opt-out, defaultMode: enforce, excludedNamespaces: [istio-system, kube-system, 'off']}": {
			Namespaces: registration.Namespaces{DefaultMode: "enforce", Excluded: excluded},
		},
		"{namespaces: opt-out}":                 {Namespaces: registration.Namespaces{DefaultMode: "dry-run"}},
		"{keepOnly: true, timeoutSeconds: 7}":   {Namespaces: registration.Namespaces{KeepOnly: true}, TimeoutSeconds: 7},
		"{keepOnly: true, namespaces: opt-out}": {Namespaces: registration.Namespaces{KeepOnly: true, DefaultMode: "dry-run"}},
		"{namespaceSelector: {matchLabels: {team: a, app: '1'}, matchExpressions: [{key: skip, operator: NotIn, values: ['', b]}, {key: c, operator: Exists}]}}": {
			Namespaces: registration.Namespaces{Selector: []metav1.LabelSelectorRequirement{
				{Key: "app", Operator: "In", Values: []string{"1"}},
				{Key: "team", Operator: "In", Values: []string{"a"}},
				{Key: "skip", Operator: "NotIn", Values: []string{"", "b"}},
				{Key: "c", Operator: "Exists"},
			}},
		},
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
			// Only the chart knows the image.
			want["metadata"].(object)["annotations"] = object{
				"tagpin.dev/image": "ghcr.io/tagpin/tagpin-webhook:" + overlayTag,
			}
			got := rendered(t, values)["MutatingWebhookConfiguration zz-tagpin"]
			got["metadata"].(object)["labels"] = at(want, "metadata", "labels") // see TestCases
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("registration of the chart (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConfigHasTheRegistration checks that the config has all values of the chart that the
// registration depends on. The server compares the registration with the config, and
// tagpin-webhook manifests prints it.
func TestConfigHasTheRegistration(t *testing.T) {
	for values, want := range map[string]config.Registration{
		"{}": {Pin: []string{"workloads", "pods"}, FailurePolicy: "Fail", TimeoutSeconds: 10},
		"{namespaces: opt-out, excludedNamespaces: [istio-system], keepOnly: true, " +
			"pin: [pods], failurePolicy: Ignore, timeoutSeconds: 7}": {
			Pin: []string{"pods"}, DefaultMode: "dry-run", ExcludedNamespaces: []string{"istio-system"},
			KeepOnly: true, FailurePolicy: "Ignore", TimeoutSeconds: 7,
		},
		"{namespaceSelector: {matchLabels: {team: a}}, objectSelector: {matchExpressions: [{key: b, operator: Exists}]}}": {
			Pin: []string{"workloads", "pods"}, FailurePolicy: "Fail", TimeoutSeconds: 10,
			NamespaceSelector: config.LabelSelector{MatchLabels: map[string]string{"team": "a"}},
			ObjectSelector: config.LabelSelector{
				MatchExpressions: []config.LabelExpression{{Key: "b", Operator: "Exists"}},
			},
		},
	} {
		configMap := rendered(t, values)["ConfigMap tagpin-webhook"]
		got, err := config.Parse([]byte(at(configMap, "data", "config.yaml").(string)))
		if err != nil {
			t.Fatal(err)
		}
		want.Name = "zz-tagpin"
		if diff := cmp.Diff(want, got.Registration, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: registration in the config (-want +got):\n%s", values, diff)
		}
	}
}

const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

var quoted = fmt.Sprintf("%q", pem)

// TestSelectors checks the mode of each namespace: which webhook is called for it. At most one is,
// and none is called for the namespaces of the system.
func TestSelectors(t *testing.T) {
	const unlabelled = ""
	labelled := map[string]string{"enforce": "enforce", "dry-run": "dry-run", "keep": "keep"}
	for _, tt := range []struct {
		values string
		want   map[string]string // mode by label; no webhook is called for other labels
	}{
		{"{}", labelled},
		{"{defaultMode: enforce}", labelled},
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
			webhooks := webhooks(rendered(t, tt.values))
			for _, label := range []string{unlabelled, "typo", "off", "enforce", "dry-run", "keep"} {
				for _, ns := range []string{"shop", "kube-system", "kube-node-lease", namespace} {
					want := tt.want[label]
					if ns != "shop" {
						want = ""
					}
					if got := modesOf(t, webhooks, ns, label); got != want {
						t.Errorf("namespace %s with label %q calls %q, want %q", ns, label, got, want)
					}
				}
			}
		})
	}
}

func TestExcludedNamespaces(t *testing.T) {
	const values = "{namespaces: opt-out, excludedNamespaces: [istio-system, kube-system]}"
	webhooks := webhooks(rendered(t, values))
	for ns, want := range map[string]string{
		"istio-system": "", "kube-system": "", namespace: "", "shop": "dry-run",
	} {
		if got := modesOf(t, webhooks, ns, ""); got != want {
			t.Errorf("namespace %s calls %q, want %q", ns, got, want)
		}
	}
}

// modesOf returns the modes whose webhooks select a namespace with the given label.
func modesOf(t *testing.T, webhooks []any, ns, label string) string {
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

// selects reports whether a namespaceSelector selects a namespace with the given label.
func selects(t *testing.T, selector []byte, ns, label string) bool {
	t.Helper()
	var s metav1.LabelSelector
	if err := yaml.UnmarshalStrict(selector, &s); err != nil {
		t.Fatal(err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&s)
	if err != nil {
		t.Fatal(err)
	}
	set := labels.Set{"kubernetes.io/metadata.name": ns}
	if label != "" {
		set["tagpin.dev/mode"] = label
	}
	return parsed.Matches(set)
}
