// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// TestPodsOnly registers only pods. Workloads stay as they were written. The pods of a revision run
// one digest while the tag moves and tagpin restarts, and a new revision runs the current digest.
// Two server-side appliers of the image have no conflict.
func TestPodsOnly(t *testing.T) { // not parallel, because it changes the registration
	if err := env.Register(t.Context(), "--pods-only"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Register(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		awaitWorkloads(t)
	}()
	s := newSpace(t, "enforce")
	s.awaitMode(true)
	reference, first := s.push("1")
	s.eventually("the registration to be in force", func(context.Context) error {
		s.apply(manifest("Deployment", reference, 0))
		if got := s.template("Deployment"); got != reference {
			s.kubectl("", "delete", "deployment", "web", "--wait")
			return fmt.Errorf("the template's image = %s", got)
		}
		return nil
	})
	s.apply(manifest("Deployment", reference, 2))
	s.rolledOut("deployment/web")
	s.wantStable("made", reference, 1)
	s.wantPods("made", 2, reference+"@"+first)
	_, second := s.push("1")
	s.restartTagpin()
	before, all := s.lists(foundSome), s.lists()
	s.apply(manifest("Deployment", reference, 4))
	s.rolledOut("deployment/web")
	s.wantStable("scaled", reference, 1)
	s.wantPods("scaled", 4, reference+"@"+first)
	if got := s.lists(foundSome) - before; got != 1 {
		t.Errorf("%v of %v lists have found siblings of two more pods, want 1", got, s.lists()-all)
	}
	s.restart("deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("restarted", reference, 2)
	s.wantPods("restarted", 4, reference+"@"+second)
	for _, manager := range []string{"one", "two"} { // without force: see TestSecondApplier in e2e
		s.kubectl(manifest("Deployment", reference, 4),
			"apply", "--server-side", "--field-manager="+manager, "-f", "-")
	}
	s.wantStable("applied by two", reference, 2)
}

// awaitWorkloads waits until workloads are pinned again.
func awaitWorkloads(t *testing.T) {
	t.Helper()
	s := newSpace(t, "enforce")
	reference, _ := s.push("1")
	s.eventually("workloads to be registered", func(context.Context) error {
		image := s.kubectl(manifest("Deployment", reference, 0), "create", "--dry-run=server",
			"-f", "-", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
		if !strings.Contains(image, "@") {
			return fmt.Errorf("the template's image = %s", image)
		}
		return nil
	})
}

// TestManyPods has hundreds of pods of unpinned workloads. Their cost depends on the number of
// revisions, and not on the number of pods.
func TestManyPods(t *testing.T) { // not parallel, because it counts lookups
	const deployments, replicas = 4, 50
	s := newSpace(t, "")
	s.push("1")
	for i := range deployments {
		s.kubectl("", "create", "deployment", fmt.Sprint("web", i), "--image="+env.Open.Host+"/"+s.name+"/app:1", "--replicas=0")
	}
	s.enforce()
	asked, lists, reads := s.lookups(), s.lists(), s.metric("tagpin_keychain_reads_total")
	for i := range deployments {
		s.kubectl("", "scale", "deployment", fmt.Sprint("web", i), fmt.Sprint("--replicas=", replicas))
	}
	for i := range deployments {
		s.rolledOut(fmt.Sprint("deployment/web", i))
	}
	if got := len(s.pods()); got != deployments*replicas {
		t.Errorf("%d pods, want %d", got, deployments*replicas)
	}
	if got := len(s.images()); got != 1 {
		t.Errorf("they run %q, want one image", s.images())
	}
	// The cost of a revision depends on how long its pods take, because results are cached for half a
	// minute.
	const few = deployments * replicas / 5
	if got := s.lookups() - asked; got < 1 || got > few {
		t.Errorf("%d lookups for one tag of %d revisions, want at least one and at most %d", got, deployments, few)
	}
	if got := s.lists() - lists; got < deployments || got > few {
		t.Errorf("%v lists of siblings of %d revisions, want at least one each and at most %d", got, deployments, few)
	}
	if got := s.metric("tagpin_keychain_reads_total") - reads; got > few {
		t.Errorf("%v reads of service accounts and secrets, want at most %d", got, few)
	}
}
