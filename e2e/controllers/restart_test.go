// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
)

// spare pushes a new image to the spare registry, and returns when tagpin can look it up. After an
// outage tagpin waits a moment before it asks the registry again.
func (s *space) spare() (reference, digest string) {
	s.t.Helper()
	reference, digest = clustertest.Push(s.t, env.Spare, s.name+"/app:1")
	s.eventually("a lookup in the registry", func(ctx context.Context) error {
		_, err := s.dryRun(ctx, reference)
		return err
	})
	return reference, digest
}

// TestRestartInIncident restarts a Deployment while its registry is down: its new pods run the old
// digest. A refresh is denied. An undo of the restart, and an undo of that, is no refresh.
func TestRestartInIncident(t *testing.T) { // not parallel, because the registry is down
	s := newSpace(t, "enforce")
	reference, first := s.spare()
	s.apply(manifest("Deployment", reference, 2))
	s.rolledOut("deployment/web")
	s.spare() // the tag moves
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	wantText(t, "kubectl rollout restart", s.restart("deployment/web"), "kept at "+first[:19]+": container")
	s.rolledOut("deployment/web")
	s.wantStable("restarted", reference+"@"+first, 2)
	s.wantPods("restarted", 2, reference+"@"+first)
	const refresh = `{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/refresh":"c1"}}}}}`
	for _, how := range []string{"--dry-run=server", "--dry-run=none"} {
		_, _, err := env.RunKubectl(t.Context(), nil, "-n", s.name, "patch", "deployment", "web",
			"--type=merge", "-p", refresh, how)
		if err == nil {
			err = errors.New("it was admitted")
		}
		wantText(t, "kubectl patch "+how, err.Error(), `container "app": can't refresh `+reference)
	}
	s.wantStable("denied", reference+"@"+first, 2)
	env.Spare.SetDown(false)
	_, second := s.spare()
	s.kubectl("", "patch", "deployment", "web", "--type=merge", "-p", refresh)
	s.rolledOut("deployment/web")
	s.wantStable("refreshed", reference+"@"+second, 3)
	s.spare()
	for _, want := range []string{first, second, first} {
		s.kubectl("", "rollout", "undo", "deployment/web")
		s.rolledOut("deployment/web")
		s.wantStable("undone", reference+"@"+want, 3)
		s.wantPods("undone", 2, reference+"@"+want)
	}
}

// TestUndoToRestartInKeepMode undoes to a restart that was made in the mode keep. The revision runs
// its own digest, which is also the current one.
func TestUndoToRestartInKeepMode(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, first := s.push("1")
	s.apply(manifest("Deployment", reference, 1))
	s.rolledOut("deployment/web")
	s.kubectl("", "label", "namespace", s.name, cluster.ModeLabel+"=keep", "--overwrite")
	s.awaitMode(false)
	for range 2 {
		s.restart("deployment/web")
		s.rolledOut("deployment/web")
	}
	_, second := s.push("1")
	s.kubectl("", "label", "namespace", s.name, cluster.ModeLabel+"=enforce", "--overwrite")
	s.awaitMode(true)
	asked := s.lookups()
	s.kubectl("", "rollout", "undo", "deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("undone", reference+"@"+first, 3)
	if got := s.lookups() - asked; got != 0 {
		t.Errorf("%d lookups for an undo, want none", got)
	}
	s.restart("deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("restarted", reference+"@"+second, 4)
	s.wantPods("restarted", 1, reference+"@"+second)
}
