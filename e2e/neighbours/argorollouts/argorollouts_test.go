// SPDX-License-Identifier: Apache-2.0

package argorollouts

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestCanary moves tags while a canary runs, and promotes it.
func TestCanary(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Both tags move while a canary of a new tag runs. The manifest is applied again, and the canary is promoted.",
		Result:   "Old and new pods keep the digests of their revisions, also the pods that are created after the tags have moved. There is no third ReplicaSet.",
		Settings: "`templates` has Argo Rollouts",
	})
	a, one, first := newApp(t, canary)
	a.deploy(one, "Healthy")
	a.wantPods("deployed", map[string]int{one + "@" + first: 4})
	two, second := a.Push("2")
	a.deploy(two, "Paused")
	half := map[string]int{one + "@" + first: 2, two + "@" + second: 2}
	a.wantPods("of the canary", half)
	a.Push("1")
	a.Push("2")
	a.deploy(two, "Paused")
	a.Kubectl("", "delete", "pods", "--all")
	a.wantPods("after all were deleted", half)
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("promoted", map[string]int{two + "@" + second: 4})
	a.wantReplicaSets("promoted", 2)
}

// TestAbort aborts a canary, and undoes a rollout.
func TestAbort(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A canary is aborted after the old tag has moved. Then the new tag is rolled out, and undone by `kubectl argo rollouts undo`.",
		Result:   "After both, all pods have the digest of the old revision. No registry is asked.",
		Settings: "`templates` has Argo Rollouts",
	})
	a, one, first := newApp(t, canary)
	a.deploy(one, "Healthy")
	two, second := a.Push("2")
	a.deploy(two, "Paused")
	a.Push("1")
	lookups := a.Lookups()
	a.plugin("abort", "web")
	a.wantPhase("Degraded")
	old := map[string]int{one + "@" + first: 4}
	a.wantPods("aborted", old)
	a.plugin("retry", "rollout", "web")
	a.wantPhase("Paused")
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("retried and promoted", map[string]int{two + "@" + second: 4})
	a.plugin("undo", "web")
	a.wantPhase("Paused")
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("undone", old)
	a.wantReplicaSets("undone", 2)
	if got := a.Lookups(); got != lookups {
		t.Errorf("%d lookups, want none", got-lookups)
	}
}

// TestBlueGreen moves the tag while both colors run.
func TestBlueGreen(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A blue-green Rollout gets a new tag. Both tags move while the preview runs. The new tag is promoted, and undone.",
		Result:   "The pods of each color keep the digest of their revision. After the undo, all pods have that of the old one.",
		Settings: "`templates` has Argo Rollouts",
	})
	a, one, first := newApp(t,
		"{blueGreen: {activeService: web, autoPromotionEnabled: false, scaleDownDelaySeconds: 1}}")
	a.Kubectl("", "create", "service", "clusterip", "web", "--tcp=80")
	a.deploy(one, "Healthy")
	two, second := a.Push("2")
	a.deploy(two, "Paused")
	both := map[string]int{one + "@" + first: 4, two + "@" + second: 4}
	a.wantPods("of both colors", both)
	a.Push("1")
	a.Push("2")
	a.Kubectl("", "delete", "pods", "--all")
	a.wantPods("of both colors, after all were deleted", both)
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("promoted", map[string]int{two + "@" + second: 4})
	a.plugin("undo", "web")
	a.wantPhase("Paused")
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("undone", map[string]int{one + "@" + first: 4})
	a.wantReplicaSets("undone", 2)
}

// TestRestart restarts the pods of a Rollout after its tag has moved, and then refreshes it.
func TestRestart(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves, and `kubectl argo rollouts restart` sets `spec.restartAt`. Then the manifest gets the annotation `tagpin.dev/refresh`.",
		Result:   "The restart replaces all pods, which keep the digest. The refresh starts a canary with the digest of that moment.",
		Settings: "`templates` has Argo Rollouts. The annotation is one of the Rollout itself",
	})
	a, one, first := newApp(t, canary)
	a.deploy(one, "Healthy")
	before := a.podNames()
	_, second := a.Push("1")
	a.restart(before)
	a.wantPods("restarted", map[string]int{one + "@" + first: 4})
	a.wantReplicaSets("restarted", 1)
	a.Apply(fmt.Sprintf(rollout, one, canary, "tagpin.dev/refresh: c1"))
	a.wantPhase("Paused")
	a.wantPods("refreshed", map[string]int{one + "@" + first: 2, one + "@" + second: 2})
}

// podNames returns the names of the pods.
func (a *app) podNames() map[string]bool {
	a.t.Helper()
	pods, err := env.Client.CoreV1().Pods(a.Name).List(a.t.Context(), metav1.ListOptions{})
	if err != nil {
		a.t.Fatal(err)
	}
	names := map[string]bool{}
	for _, p := range pods.Items {
		names[p.Name] = true
	}
	return names
}

// restart restarts the Rollout, and waits until none of the pods from before is left.
func (a *app) restart(before map[string]bool) {
	a.t.Helper()
	a.plugin("restart", "web", "--in=1s") // the controller compares whole seconds
	a.Eventually("the restart", func(context.Context) error {
		for name := range a.podNames() {
			if before[name] {
				return errors.New(name + " is from before the restart")
			}
		}
		return nil
	})
	a.wantPhase("Healthy")
}

// TestWorkloadRef has the pod template in a Deployment.
func TestWorkloadRef(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Rollout has its pod template in a Deployment, by `workloadRef`. The tag moves while all pods are deleted. Then `kubectl rollout restart` restarts the Deployment.",
		Result: "tagpin pins the Deployment. All pods keep its digest until the restart, which starts a canary with the digest of that moment.",
	})
	a, one, first := newApp(t, canary)
	a.Apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "%s"}
---
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  replicas: 4
  strategy: %s
  workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}
`, one, canary))
	a.wantPhase("Healthy")
	a.wantPods("deployed", map[string]int{one + "@" + first: 4})
	_, second := a.Push("1")
	a.Kubectl("", "delete", "pods", "--all")
	a.wantPods("after all were deleted", map[string]int{one + "@" + first: 4})
	a.Kubectl("", "rollout", "restart", "deployment/web")
	a.wantPods("of the canary", map[string]int{one + "@" + first: 2, one + "@" + second: 2})
	a.wantPhase("Paused")
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("promoted", map[string]int{one + "@" + second: 4})
}

// TestPodsOnly leaves Rollouts out of the config, so that only their pods are pinned.
func TestPodsOnly(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "tagpin's config does not name Rollouts. Both tags move while a canary runs. It is promoted, and its pods are replaced by `spec.restartAt`. Then it is undone, longer than `cache.ttl` after the last pod of the old revision.",
		Result:   "The Rollout has its tags, and the pods have digests. All pods of a revision run one digest, since a new pod takes that of the oldest one that is left. The undo resolves the old tag again.",
		Settings: "`templates` does not have Argo Rollouts",
	})
	without := func(config string) string {
		const line, cache = "- {group: argoproj.io, kind: Rollout, paths: [spec.template]}\n", "cache: {"
		if !strings.Contains(config, line) || !strings.Contains(config, cache) {
			t.Error("the config has no Rollouts, or no cache")
		}
		return strings.NewReplacer(line, "", cache, cache+"ttl: 200ms, ").Replace(config)
	}
	if err := env.Reconfigure(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	})
	a, one, first := newApp(t, canary)
	a.deploy(one, "Healthy")
	a.wantPods("deployed", map[string]int{one + "@" + first: 4})
	two, second := a.Push("2")
	a.deploy(two, "Paused")
	_, moved := a.Push("1")
	a.Push("2")
	a.wantPods("of the canary", map[string]int{one + "@" + first: 2, two + "@" + second: 2})
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.restart(a.podNames())
	a.wantPods("promoted and restarted", map[string]int{two + "@" + second: 4})
	got := a.Kubectl("", "get", "rollout/web",
		"-o", "jsonpath={.spec.template.spec.containers[0].image}")
	if got != two {
		t.Errorf("the Rollout has the image %s, want %s", got, two)
	}
	a.plugin("undo", "web")
	a.wantPhase("Paused")
	a.plugin("promote", "web")
	a.wantPhase("Healthy")
	a.wantPods("undone", map[string]int{one + "@" + moved: 4})
}
