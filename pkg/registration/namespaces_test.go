// SPDX-License-Identifier: Apache-2.0

package registration_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/registration"
)

// selects reports whether a selector selects a namespace whose label has the given mode. If mode is
// empty, the namespace has no label.
func selects(t *testing.T, s *metav1.LabelSelector, namespace, mode string) bool {
	t.Helper()
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	set := labels.Set{"kubernetes.io/metadata.name": namespace, "team": "of-" + namespace}
	if mode != "" {
		set["tagpin.dev/mode"] = mode
	}
	return selector.Matches(set)
}

// policySelectors returns the namespace selectors of the three bindings of the policies, and that
// of Gatekeeper's constraint.
func policySelectors(t *testing.T, n registration.Namespaces) []*metav1.LabelSelector {
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
		for _, s := range []*metav1.LabelSelector{
			o.Spec.MatchResources.NamespaceSelector, o.Spec.Match.NamespaceSelector,
		} {
			if s != nil {
				all = append(all, s)
			}
		}
	}
	if len(all) != 4 {
		t.Fatalf("found %d selectors, want 4: three bindings and one constraint", len(all))
	}
	return all
}

// ofShop selects the namespaces with a team's label that only the namespace shop has here.
var ofShop = []metav1.LabelSelectorRequirement{
	{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []string{"of-shop", "true"}},
	{Key: "team", Operator: metav1.LabelSelectorOpExists},
}

// TestNamespaces tests that at most one mode serves a namespace, and that the policies demand
// digests exactly where that is enforce.
func TestNamespaces(t *testing.T) {
	for name, n := range map[string]registration.Namespaces{
		"opt-in":  {},
		"opt-out": {DefaultMode: "dry-run"},
		"opt-out, enforce": {
			DefaultMode: "enforce", Namespace: "1234", Excluded: []string{"istio-system", "on"},
		},
		"opt-in, of a team":    {Selector: ofShop},
		"opt-out, of a team":   {DefaultMode: "enforce", Selector: ofShop},
		"opt-in, keep only":    {KeepOnly: true, Excluded: []string{"on"}},
		"opt-out, keep only":   {KeepOnly: true, DefaultMode: "enforce"},
		"keep only, of a team": {KeepOnly: true, Selector: ofShop},
	} {
		t.Run(name, func(t *testing.T) {
			webhooks := write(t, registration.Registration{Namespaces: n}).Webhooks
			policies := policySelectors(t, n)
			for _, ns := range []string{
				"shop", "istio-system", "on", "1234", "tagpin-system", "kube-system",
			} {
				for _, label := range []string{"", "typo", "off", "enforce", "dry-run", "keep"} {
					want := wantMode(n, ns, label)
					if got := modesOf(t, webhooks, ns, label); got != want {
						t.Errorf("modes of %s with label %q = %q, want %q", ns, label, got, want)
					}
					for i, s := range policies {
						if got := selects(t, s, ns, label); got != (want == "enforce") {
							t.Errorf("policy %d selects %s with label %q = %t, want %t",
								i, ns, label, got, want == "enforce")
						}
					}
				}
			}
		})
	}
}

// wantMode returns the mode that is to serve a namespace, or "".
func wantMode(n registration.Namespaces, ns, label string) string {
	if slices.Contains(n.NeverServed(), ns) || n.Selector != nil && ns != "shop" {
		return ""
	}
	mode := n.DefaultMode
	switch label {
	case "enforce", "dry-run", "keep":
		mode = label
	case "off":
		mode = ""
	}
	if n.KeepOnly && mode != "" {
		return "keep"
	}
	return mode
}

// modesOf returns the modes of the webhooks that select a namespace, separated by blanks.
func modesOf(
	t *testing.T, webhooks []admissionv1.MutatingWebhook, ns, label string,
) string {
	t.Helper()
	var modes []string
	for _, w := range webhooks {
		if selects(t, w.NamespaceSelector, ns, label) {
			modes = append(modes, strings.TrimSuffix(w.Name, ".tagpin.dev"))
		}
	}
	return strings.Join(modes, " ")
}

// TestNeverServedIsUnique checks that no namespace is named twice, also if tagpin runs in one of
// Kubernetes' own: the API server has the list as the manifests write it.
func TestNeverServedIsUnique(t *testing.T) {
	n := registration.Namespaces{Namespace: "kube-system", Excluded: []string{"a", "kube-node-lease", "a"}}
	if got, want := n.NeverServed(), []string{"kube-system", "kube-node-lease", "a"}; !slices.Equal(got, want) {
		t.Errorf("NeverServed() = %q, want %q", got, want)
	}
}
