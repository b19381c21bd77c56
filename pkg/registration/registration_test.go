// SPDX-License-Identifier: Apache-2.0

package registration_test

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/registration"
)

// write writes a registration and parses it as the API server would. The e2e tests evaluate its
// expressions.
func write(t *testing.T, r registration.Registration) *admissionv1.MutatingWebhookConfiguration {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	var c admissionv1.MutatingWebhookConfiguration
	if err := yaml.UnmarshalStrict(b.Bytes(), &c); err != nil {
		t.Fatalf("WriteYAML wrote invalid YAML: %v\n%s", err, b.String())
	}
	return &c
}

// kinds returns n kinds of three groups. A # in the path stands for the number of the kind.
func kinds(n int, path string) []registration.Kind {
	var all []registration.Kind
	for i := range n {
		all = append(all, registration.Kind{
			Group:    fmt.Sprintf("g%d.example", i%3),
			Kind:     fmt.Sprintf("Kind%d", i),
			Resource: fmt.Sprintf("kinds%d", i),
			Paths:    []string{strings.ReplaceAll(path, "#", fmt.Sprint(i))},
		})
	}
	return all
}

// TestModes tests that each mode has one webhook, that all have the same rules, and that the
// namespaces that are never served are left out.
func TestModes(t *testing.T) {
	c := write(t, registration.Registration{
		Namespaces: registration.Namespaces{Namespace: "ns"},
		Service:    "svc",
		CABundle:   []byte("pem"),
		Kinds:      kinds(7, "spec.template"),
	})
	if c.Name != "zz-tagpin" || len(c.Webhooks) != 3 {
		t.Fatalf("WriteYAML = %s with %d webhooks, want zz-tagpin with 3", c.Name, len(c.Webhooks))
	}
	for i, mode := range []string{"enforce", "dry-run", "keep"} {
		w := c.Webhooks[i]
		path := "/" + mode
		want := admissionv1.WebhookClientConfig{
			Service:  &admissionv1.ServiceReference{Namespace: "ns", Name: "svc", Path: &path},
			CABundle: []byte("pem"),
		}
		if diff := cmp.Diff(want, w.ClientConfig); w.Name != mode+".tagpin.dev" || diff != "" {
			t.Errorf("webhook %d = %s, want %s.tagpin.dev (-want +got):\n%s", i, w.Name, mode, diff)
		}
		if *w.FailurePolicy != admissionv1.Fail || *w.TimeoutSeconds != 10 ||
			*w.MatchPolicy != admissionv1.Equivalent ||
			*w.ReinvocationPolicy != admissionv1.IfNeededReinvocationPolicy ||
			*w.SideEffects != admissionv1.SideEffectClassNone {
			t.Errorf("%s: %+v, want Fail, 10s, Equivalent, IfNeeded and no side effects", mode, w)
		}
		never := strings.Join(w.NamespaceSelector.MatchExpressions[1].Values, " ")
		if want := "kube-system kube-node-lease ns"; never != want {
			t.Errorf("%s: namespaces that are not served = %s, want %s", mode, never, want)
		}
		if len(w.Rules) != 6 || len(w.Rules[3].Resources) != 3 || len(w.MatchConditions) != 5 {
			t.Errorf("%s: rules %v, %d conditions, want rules for the three groups after the "+
				"built-in ones, and one condition for the path of all kinds",
				mode, w.Rules, len(w.MatchConditions))
		}
		for _, r := range w.Rules {
			if strings.Contains(strings.Join(r.Resources, " "), "*") {
				t.Errorf("%s: resources = %s, want no wildcard", mode, r.Resources)
			}
		}
	}
}

// TestWebhooks tests that Webhooks returns what WriteYAML writes.
func TestWebhooks(t *testing.T) {
	for name, r := range map[string]registration.Registration{
		"all":      {Kinds: kinds(7, "spec.template")},
		"pods":     {PodsOnly: true},
		"built-in": {IgnoreRestart: true},
		// Unquoted, the name of its condition would be a boolean.
		"named true": {Kinds: []registration.Kind{
			{Kind: "True", Resource: "trues", Paths: []string{"spec.template"}},
		}},
	} {
		got, err := r.Webhooks()
		if err != nil {
			t.Errorf("%s: Webhooks = %v", name, err)
		}
		if diff := cmp.Diff(write(t, r).Webhooks, got); diff != "" {
			t.Errorf("%s: Webhooks differs from WriteYAML (-written +got):\n%s", name, diff)
		}
		for _, w := range got {
			if !registration.IsWebhook(w.Name) {
				t.Errorf("%s: IsWebhook(%s) = false, want true", name, w.Name)
			}
		}
	}
	if other := "enforce.example.com"; registration.IsWebhook(other) {
		t.Errorf("IsWebhook(%s) = true, want false", other)
	}
}

// TestPodsOnly tests that a registration for pods alone has a single rule and may fail open.
func TestPodsOnly(t *testing.T) {
	c := write(t, registration.Registration{
		PodsOnly: true, FailOpen: true, Kinds: kinds(2, "spec.template"),
	})
	for _, w := range c.Webhooks {
		if len(w.Rules) != 1 ||
			strings.Join(w.Rules[0].Resources, " ") != "pods pods/ephemeralcontainers" ||
			*w.FailurePolicy != admissionv1.Ignore {
			t.Errorf("%s: rules %v, failure policy %s, want pods alone and Ignore",
				w.Name, w.Rules, *w.FailurePolicy)
		}
	}
}

func TestRefused(t *testing.T) {
	for name, r := range map[string]registration.Registration{
		"failing open":        {FailOpen: true},
		"too many conditions": {Kinds: kinds(61, "spec.t#")},
		"labels of pods":      {Objects: labelled, PodsOnly: true},
		"labels of workloads, and too many conditions": {
			Objects: labelled, Kinds: kinds(60, "spec.t#"),
		},
		"an operator that does not exist": {
			Objects: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Is", Values: []string{"b"}}},
		},
		"a namespace selector without values": {Namespaces: registration.Namespaces{
			Selector: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "In"}},
		}},
	} {
		if err := r.WriteYAML(&bytes.Buffer{}); err == nil {
			t.Errorf("%s: WriteYAML() = nil, want an error", name)
		}
	}
	write(t, registration.Registration{Kinds: kinds(60, "spec.t#")})
}

// labelled has every operator of a label selector.
var labelled = []metav1.LabelSelectorRequirement{
	{Key: "team", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "true"}},
	{Key: "tagpin.example/skip", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"yes"}},
	{Key: "app", Operator: metav1.LabelSelectorOpExists},
	{Key: "ci", Operator: metav1.LabelSelectorOpDoesNotExist},
}

// TestObjects tests that the labels of workloads become a condition of each webhook, which holds
// for every Pod, and that only the policy that warns about workloads selects by them.
func TestObjects(t *testing.T) {
	const want = `request.kind.kind == 'Pod' || (
  (object.?metadata.?labels[?'team'].hasValue() && ` +
		`object.?metadata.?labels[?'team'].orValue('') in ['a', 'true']) &&
  !(object.?metadata.?labels[?'tagpin.example/skip'].hasValue() && ` +
		`object.?metadata.?labels[?'tagpin.example/skip'].orValue('') in ['yes']) &&
  object.?metadata.?labels[?'app'].hasValue() &&
  !object.?metadata.?labels[?'ci'].hasValue())`
	for _, w := range write(t, registration.Registration{Objects: labelled}).Webhooks {
		if got := w.MatchConditions[3]; got.Name != "pod-or-selected" || got.Expression != want {
			t.Errorf("%s: condition 3 = %+v, want pod-or-selected:\n%s", w.Name, got, want)
		}
	}
	p := registration.Policy{Objects: labelled}
	var policy, gatekeeper bytes.Buffer
	if err := errors.Join(p.WriteYAML(&policy), p.WriteGatekeeperYAML(&gatekeeper)); err != nil {
		t.Fatal(err)
	}
	var selected []string
	for document := range strings.SplitSeq(policy.String()+gatekeeper.String(), "\n---\n") {
		if !strings.Contains(document, "tagpin.example/skip") {
			continue
		}
		var binding admissionv1.ValidatingAdmissionPolicyBinding
		if err := yaml.UnmarshalStrict([]byte(document), &binding); err != nil {
			t.Fatal(err)
		}
		selected = append(selected, binding.Name)
		got := binding.Spec.MatchResources.ObjectSelector.MatchExpressions
		if diff := cmp.Diff(labelled, got); diff != "" {
			t.Errorf("%s: labels (-want +got):\n%s", binding.Name, diff)
		}
	}
	if diff := cmp.Diff([]string{"tagpin-digests-workloads"}, selected); diff != "" {
		t.Errorf("bindings that select by labels (-want +got):\n%s", diff)
	}
	p.Objects = []metav1.LabelSelectorRequirement{{Key: "a b", Operator: "Exists"}}
	if err := p.WriteYAML(&policy); err == nil {
		t.Error("WriteYAML of a policy with an invalid label = nil, want an error")
	}
}

// TestImages tests that kinds with the same paths of templates and of images share a condition, and
// that the condition has an expression for each path.
func TestImages(t *testing.T) {
	all := kinds(4, "spec.template")
	images := []string{"spec.steps[*].image", "spec.image"}
	all[1].Images, all[2].Images = images, images
	all[3].Paths, all[3].Images = nil, images[1:]
	for _, w := range write(t, registration.Registration{Kinds: all}).Webhooks {
		var got []int
		for _, c := range w.MatchConditions[4:] {
			got = append(got, strings.Count(c.Expression, "refs[0] != refs[1]"))
		}
		if diff := cmp.Diff([]int{1, 3, 1}, got); diff != "" {
			t.Errorf("%s: paths in each condition (-want +got):\n%s", w.Name, diff)
		}
	}
}

// TestConditionNames tests that the names of conditions are valid and different, even if the names
// of kinds are long and begin alike.
func TestConditionNames(t *testing.T) {
	valid := regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	long := strings.Repeat("x", 40)
	var all []registration.Kind
	for i, group := range []string{
		"", "argoproj.io", long + ".a.example", long + ".b.example",
		strings.Repeat("y.", 100) + "example",
	} {
		all = append(all, registration.Kind{
			Group: group, Kind: "Rollout" + long[7:], Resource: "rollouts",
			Paths: []string{fmt.Sprint("spec.t", i)},
		})
	}
	all[1].Kind = "Rollout"
	for _, w := range write(t, registration.Registration{Kinds: all}).Webhooks {
		names := map[string]bool{}
		for _, c := range w.MatchConditions {
			if !valid.MatchString(c.Name) || names[c.Name] {
				t.Errorf("%s: name of a condition = %q, want a valid name that is used once",
					w.Name, c.Name)
			}
			names[c.Name] = true
		}
		if !names["rollout.argoproj.io"] {
			t.Errorf("%s: names of conditions = %v, want rollout.argoproj.io among them",
				w.Name, names)
		}
	}
}

// TestMarkers tests that the conditions only name restartedAt if a restart is a refresh.
func TestMarkers(t *testing.T) {
	for ignore, want := range map[bool]bool{false: true, true: false} {
		c := write(t, registration.Registration{
			IgnoreRestart: ignore, Kinds: kinds(1, "spec.a[*].template"),
			RefreshAnnotations: []string{"keel.sh/update-time"},
		})
		for _, w := range c.Webhooks[:2] {
			for _, m := range w.MatchConditions[3:] {
				if got := strings.Contains(m.Expression, "restartedAt"); got != want {
					t.Errorf("IgnoreRestart %t: condition %s names restartedAt = %t, want %t",
						ignore, m.Name, got, want)
				}
				if !strings.Contains(m.Expression, "'keel.sh/update-time'") {
					t.Errorf("condition %s does not name the annotation of the config", m.Name)
				}
			}
		}
	}
}
