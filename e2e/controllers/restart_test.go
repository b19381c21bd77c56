// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// spare pushes a new image to the spare registry, and returns when tagpin can look it up: after an
// outage it takes a moment until tagpin asks again.
func (s *space) spare() (reference, digest string) {
	s.t.Helper()
	digest, err := env.Spare.PushImage(s.name + "/app:1")
	if err != nil {
		s.t.Fatal(err)
	}
	reference = env.Spare.Host + "/" + s.name + "/app:1"
	probe := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
	probe.Spec.Containers = []corev1.Container{{Name: "a", Image: reference}}
	s.eventually("the registry to be asked", func(ctx context.Context) error {
		_, err := env.Client.CoreV1().Pods(s.name).Create(ctx, probe,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	})
	return reference, digest
}

// restartWarned restarts the Deployment, and returns what kubectl warns of.
func (s *space) restartWarned() (stderr string) {
	s.t.Helper()
	s.eventually("another second", func(ctx context.Context) (err error) {
		_, stderr, err = env.RunKubectl(ctx, nil, "-n", s.name, "rollout", "restart", "deployment/web")
		return err
	})
	return stderr
}

// TestRestartInIncident restarts a Deployment while its registry is down: its pods are made anew
// with the digest that they had. A refresh is denied. To undo and redo the restart is no refresh.
func TestRestartInIncident(t *testing.T) { // not parallel: the registry is down
	s := newSpace(t, "enforce")
	reference, first := s.spare()
	s.apply(manifest("Deployment", reference, 2))
	s.rolledOut("deployment/web")
	s.spare() // the tag moves
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	wantText(t, "kubectl rollout restart", s.restartWarned(), "; kept at "+first[:19])
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

// TestUndoToRestartInKeepMode undoes to a restart that was made while tagpin made no pins: it
// runs the digest of its revision, which is that of the live one too.
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
		t.Errorf("undone with %d look-ups, want none", got)
	}
	s.restart("deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("restarted", reference+"@"+second, 4)
	s.wantPods("restarted", 1, reference+"@"+second)
}
