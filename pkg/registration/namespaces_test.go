// SPDX-License-Identifier: Apache-2.0

package registration_test

import (
	"bytes"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/registration"
)

// selects tells whether a selector takes a namespace with a label of the mode, or with none.
func selects(t *testing.T, s *metav1.LabelSelector, namespace, mode string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	of := labels.Set{"kubernetes.io/metadata.name": namespace}
	if mode != "" {
		of["tagpin.dev/mode"] = mode
	}
	return selector.Matches(of)
}

// demanding are the selectors of what demands digests, or warns of them: the policies' three
// bindings, and Gatekeeper's constraint.
func demanding(t *testing.T, n registration.Namespaces) []*metav1.LabelSelector {
	t.Helper()
	p := registration.Policy{Namespaces: n}
	var text bytes.Buffer
	if err := p.WriteYAML(&text); err != nil {
		t.Fatal(err)
	}
	text.WriteString("\n---\n")
	if err := p.WriteGatekeeperYAML(&text); err != nil {
		t.Fatal(err)
	}
	var all []*metav1.LabelSelector
	for document := range strings.SplitSeq(text.String(), "\n---\n") {
		var o struct {
			Spec struct {
				MatchResources, Match struct{ NamespaceSelector *metav1.LabelSelector }
			}
		}
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		for _, s := range []*metav1.LabelSelector{o.Spec.MatchResources.NamespaceSelector, o.Spec.Match.NamespaceSelector} {
			if s != nil {
				all = append(all, s)
			}
		}
	}
	if len(all) != 4 {
		t.Fatalf("%d selectors, want the three bindings' and the constraint's", len(all))
	}
	return all
}

// TestNamespaces: one mode at most serves a namespace, and digests are demanded exactly where that is enforce.
func TestNamespaces(t *testing.T) {
	for name, n := range map[string]registration.Namespaces{
		"opt-in":           {},
		"opt-out":          {DefaultMode: "dry-run"},
		"opt-out, enforce": {DefaultMode: "enforce", Namespace: "1234", Excluded: []string{"istio-system", "on"}},
	} {
		t.Run(name, func(t *testing.T) {
			webhooks, policies := write(t, registration.Registration{Namespaces: n}).Webhooks, demanding(t, n)
			for _, ns := range []string{"shop", "istio-system", "on", "1234", "tagpin-system", "kube-system"} {
				for _, label := range []string{"", "typo", "off", "enforce", "dry-run", "keep"} {
					want := wanted(n, ns, label)
					if got := called(t, webhooks, ns, label); got != want {
						t.Errorf("%s with label %q is served by %q, want %q", ns, label, got, want)
					}
					for i, s := range policies {
						if got := selects(t, s, ns, label); got != (want == "enforce") {
							t.Errorf("%s with label %q: policy %d demands digests: %t, want %t", ns, label, i, got, want == "enforce")
						}
					}
				}
			}
		})
	}
}

func wanted(n registration.Namespaces, ns, label string) string {
	for _, never := range n.Never() {
		if ns == never {
			return ""
		}
	}
	switch label {
	case "enforce", "dry-run", "keep":
		return label
	case "off":
		return ""
	}
	return n.DefaultMode
}

// called are the modes of the webhooks that select a namespace.
func called(t *testing.T, webhooks []admissionregistrationv1.MutatingWebhook, ns, label string) string {
	t.Helper()
	var modes []string
	for _, w := range webhooks {
		if selects(t, w.NamespaceSelector, ns, label) {
			modes = append(modes, strings.TrimSuffix(w.Name, ".tagpin.dev"))
		}
	}
	return strings.Join(modes, " ")
}
