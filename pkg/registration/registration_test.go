// SPDX-License-Identifier: Apache-2.0

package registration_test

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/registration"
)

// write is the registration as the API server would read it. That its expressions are right is tested there, in e2e.
func write(t *testing.T, r registration.Registration) *admissionregistrationv1.MutatingWebhookConfiguration {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteYAML(&b); err != nil {
		t.Fatal(err)
	}
	var c admissionregistrationv1.MutatingWebhookConfiguration
	if err := yaml.UnmarshalStrict(b.Bytes(), &c); err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return &c
}

func kinds(n int, path string) []registration.Kind {
	var all []registration.Kind
	for i := range n {
		all = append(all, registration.Kind{
			Group: fmt.Sprintf("g%d.example", i%3), Kind: fmt.Sprintf("Kind%d", i), Resource: fmt.Sprintf("kinds%d", i),
			Paths: []string{strings.ReplaceAll(path, "#", fmt.Sprint(i))},
		})
	}
	return all
}

// One entry a mode, all with the same rules, and none for what tagpin never serves.
func TestModes(t *testing.T) {
	c := write(t, registration.Registration{Namespaces: registration.Namespaces{Namespace: "ns"}, Service: "svc", CABundle: []byte("pem"), Kinds: kinds(7, "spec.template")})
	if c.Name != "zz-tagpin" || len(c.Webhooks) != 3 {
		t.Fatalf("%s with %d webhooks, want zz-tagpin with 3", c.Name, len(c.Webhooks))
	}
	for i, mode := range []string{"enforce", "dry-run", "keep"} {
		w := c.Webhooks[i]
		s := w.ClientConfig.Service
		if w.Name != mode+".tagpin.dev" || *s.Path != "/"+mode || s.Namespace != "ns" || s.Name != "svc" || string(w.ClientConfig.CABundle) != "pem" {
			t.Errorf("entry %d is %s at %+v, want that of %s", i, w.Name, s, mode)
		}
		if *w.FailurePolicy != admissionregistrationv1.Fail || *w.TimeoutSeconds != 10 || *w.MatchPolicy != admissionregistrationv1.Equivalent ||
			*w.ReinvocationPolicy != admissionregistrationv1.IfNeededReinvocationPolicy || *w.SideEffects != admissionregistrationv1.SideEffectClassNone {
			t.Errorf("%s: %+v", mode, w)
		}
		if got := w.NamespaceSelector.MatchExpressions[1].Values; strings.Join(got, " ") != "kube-system kube-node-lease ns" {
			t.Errorf("%s: never in %s", mode, got)
		}
		if len(w.Rules) != 6 || len(w.Rules[3].Resources) != 3 || len(w.MatchConditions) != 5 {
			t.Errorf("%s: rules %v, %d conditions, want the three groups' kinds beside the built-in ones, and one condition for their path",
				mode, w.Rules, len(w.MatchConditions))
		}
		for _, r := range w.Rules {
			if strings.Contains(strings.Join(r.Resources, " "), "*") {
				t.Errorf("%s: resources %s", mode, r.Resources)
			}
		}
	}
}

// What is filled in is what is written, so that both can be told apart by nobody.
func TestFill(t *testing.T) {
	for name, r := range map[string]registration.Registration{
		"all": {Kinds: kinds(7, "spec.template")}, "pods": {PodsOnly: true}, "built-in": {IgnoreRestart: true},
	} {
		for _, w := range write(t, r).Webhooks {
			filled := *w.DeepCopy()
			filled.Rules, filled.MatchConditions = nil, []admissionregistrationv1.MatchCondition{{Name: "of-another-time"}}
			if ok := r.Fill(&filled); !ok || !registration.IsMode(w.Name) {
				t.Errorf("%s: Fill(%s) = %t, IsMode = %t, want both true", name, w.Name, ok, registration.IsMode(w.Name))
			}
			if diff := cmp.Diff(w, filled); diff != "" {
				t.Errorf("%s: %s filled in differs from what is written (-written +filled):\n%s", name, w.Name, diff)
			}
		}
	}
	other := admissionregistrationv1.MutatingWebhook{Name: "enforce.example.com"}
	if new(registration.Registration).Fill(&other) || other.Rules != nil || registration.IsMode(other.Name) {
		t.Errorf("Fill(%s) = true, %v, want it left", other.Name, other.Rules)
	}
}

// Pods alone, and then open by choice.
func TestPodsOnly(t *testing.T) {
	c := write(t, registration.Registration{PodsOnly: true, FailOpen: true, Kinds: kinds(2, "spec.template")})
	for _, w := range c.Webhooks {
		if len(w.Rules) != 1 || strings.Join(w.Rules[0].Resources, " ") != "pods pods/ephemeralcontainers" || *w.FailurePolicy != admissionregistrationv1.Ignore {
			t.Errorf("%s: %v, %s", w.Name, w.Rules, *w.FailurePolicy)
		}
	}
}

// What can't be, is refused.
func TestRefused(t *testing.T) {
	for name, r := range map[string]registration.Registration{
		"open for workloads":  {FailOpen: true},
		"too many conditions": {Kinds: kinds(61, "spec.t#")},
	} {
		if err := r.WriteYAML(&bytes.Buffer{}); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	write(t, registration.Registration{Kinds: kinds(60, "spec.t#")})
}

// Names of conditions are such as the API server takes, and differ, however long and alike those of the kinds are.
func TestConditionNames(t *testing.T) {
	taken := regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	long := strings.Repeat("x", 40)
	var all []registration.Kind
	for i, group := range []string{"", "argoproj.io", long + ".a.example", long + ".b.example", strings.Repeat("y.", 100) + "example"} {
		all = append(all, registration.Kind{Group: group, Kind: "Rollout" + long[7:], Resource: "rollouts", Paths: []string{fmt.Sprint("spec.t", i)}})
	}
	all[1].Kind = "Rollout"
	for _, w := range write(t, registration.Registration{Kinds: all}).Webhooks {
		names := map[string]bool{}
		for _, c := range w.MatchConditions {
			if !taken.MatchString(c.Name) || names[c.Name] {
				t.Errorf("%s: the condition's name %q is refused, or doubled", w.Name, c.Name)
			}
			names[c.Name] = true
		}
		if !names["rollout.argoproj.io"] {
			t.Errorf("%s: the conditions are %v, want rollout.argoproj.io among them", w.Name, names)
		}
	}
}

// What the config switches off is not waited for.
func TestMarkers(t *testing.T) {
	for ignore, want := range map[bool]bool{false: true, true: false} {
		c := write(t, registration.Registration{IgnoreRestart: ignore, Kinds: kinds(1, "spec.a[*].template")})
		for _, w := range c.Webhooks[:2] {
			for _, m := range w.MatchConditions[3:] {
				if got := strings.Contains(m.Expression, "restartedAt"); got != want {
					t.Errorf("IgnoreRestart %t: condition %s asks for restarts: %t, want %t", ignore, m.Name, got, want)
				}
			}
		}
	}
}
