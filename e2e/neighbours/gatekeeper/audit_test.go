// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// applyOwnConstraint applies the constraint that tagpin ships, for one namespace. It also checks
// Deployments.
func applyOwnConstraint(t *testing.T, s *neighbours.Space) {
	t.Helper()
	_, text, err := ownPolicy()
	if err != nil {
		t.Fatal(err)
	}
	var o object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	o["metadata"].(object)["name"] = s.Name
	match := o["spec"].(object)["match"].(object)
	match["namespaces"] = []string{s.Name}
	match["kinds"] = append(match["kinds"].([]any),
		object{"apiGroups": []string{"apps"}, "kinds": []string{"Deployment"}})
	changed, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(string(changed))
	inForce(t, s, "tagpindigests/"+s.Name)
}

// wantViolations waits until an audit that began after the call has found violations in objects of
// these names, which are cut off at the first dash.
func wantViolations(t *testing.T, s *neighbours.Space, kind string, names ...string) {
	t.Helper()
	now := time.Now()
	s.Eventually("an audit with "+kind, func(context.Context) error {
		var o struct {
			Status struct {
				AuditTimestamp  time.Time
				TotalViolations *int
				Violations      []struct{ Kind, Name string }
			}
		}
		text := s.Kubectl("", "get", kind, s.Name, "-o", "json")
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			return err
		}
		if !o.Status.AuditTimestamp.After(now) || o.Status.TotalViolations == nil {
			return fmt.Errorf("the last audit was at %v, want one after %v", o.Status.AuditTimestamp, now)
		}
		found := map[string]bool{}
		for _, v := range o.Status.Violations {
			name, _, _ := strings.Cut(v.Name, "-")
			found[v.Kind+" "+name] = true
		}
		if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, names) {
			return fmt.Errorf("violations in %v, want %v", got, names)
		}
		return nil
	})
}

// TestAudit audits pods that are older than tagpin, and others.
func TestAudit(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Deployment is created while tagpin is off, and another one in `enforce`. Gatekeeper audits with the rule of `K8sImageDigests`, and with [tagpin's own constraint](../policies/README.md), to which Deployments were added. Then the older Deployment is restarted.",
		Result: "The first constraint reports the older pods, and tagpin's own also the older Deployment. Neither reports anything that tagpin has pinned. After the restart they report nothing.",
	})
	s := newSpace(t, "off")
	reference, digest := s.Push("1")
	s.Apply(fmt.Sprintf(deployment, "old", reference))
	wantPods(t, s, "old", reference)
	s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"=enforce")
	applyOwnConstraint(t, s)
	requireDigests(t, s)
	s.Apply(fmt.Sprintf(deployment, "new", reference))
	wantPods(t, s, "new", reference+"@"+digest)
	wantViolations(t, s, "k8simagedigests", "Pod old")
	wantViolations(t, s, "tagpindigests", "Deployment old", "Pod old")
	s.Kubectl("", "rollout", "restart", "deployment/old")
	wantPods(t, s, "old", reference+"@"+digest)
	wantViolations(t, s, "k8simagedigests")
	wantViolations(t, s, "tagpindigests")
}

// TestOldPods changes and deletes pods that are older than tagpin and the constraints.
func TestOldPods(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A pod is older than tagpin and has a finalizer, as the pods of Jobs have. It gets a label, is deleted, and its finalizer is removed: once with tagpin's own constraint, and once with the rule of `K8sImageDigests`.",
		Result: "With tagpin's own constraint all of that works. With the other rule, Gatekeeper denies the label and the removal of the finalizer, so that the pod stays.",
	})
	s := newSpace(t, "off")
	reference, _ := s.Push("1")
	if _, err := create(t, s, "own", reference); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t, s, "rule", reference); err != nil {
		t.Fatal(err)
	}
	finalizers := `{"metadata":{"finalizers":%s}}`
	for _, name := range []string{"own", "rule"} {
		s.Kubectl("", "patch", "pod", name, "-p", fmt.Sprintf(finalizers, `["e2e.tagpin.dev/hold"]`))
	}
	s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"=enforce")
	applyOwnConstraint(t, s)
	end := fmt.Sprintf(finalizers, "null")
	s.Kubectl("", "label", "pod", "own", "new=label")
	s.Kubectl("", "delete", "pod", "own", "--wait=false")
	s.Kubectl("", "patch", "pod", "own", "-p", end)

	requireDigests(t, s)
	for _, args := range [][]string{
		{"label", "pod", "rule", "new=label"}, {"patch", "pod", "rule", "-p", end},
	} {
		_, _, err := env.RunKubectl(t.Context(), nil, append([]string{"-n", s.Name}, args...)...)
		if !denied(err, s.Name) {
			t.Errorf("%v: %v, want a denial", args, err)
		}
		s.Kubectl("", "delete", "pod", "rule", "--wait=false")
	}
}
