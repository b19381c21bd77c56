// SPDX-License-Identifier: Apache-2.0

package argocd

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestDefaultDiff has Argo CD compare as it does if nothing is set.
func TestDefaultDiff(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves. Sync is automated, with self-heal.",
		Result: "The Application is out of sync. The only difference in the pod template that Argo CD shows is the image, without its digest. Self-heal syncs again and again. The syncs change nothing: the digest, the Deployment's generation and its ReplicaSet stay, and no registry is asked.",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, "", selfHeal)
	s.Push("1")
	before := s.Lookups()
	was := a.get().attempts()
	a.until("more attempts of self-heal", func(o object) bool { return o.attempts() >= was+2 })
	a.want("healed", "OutOfSync")
	want := a.Deployment().Spec.Template
	want.Spec.Containers[0].Image = reference
	if d := cmp.Diff(want, a.predicted()); d != "" {
		t.Errorf("the difference is not that of the image, -want +got:\n%s", d)
	}
	a.WantDeployment("healed", reference+"@"+digest, 1, 1)
	if got := s.Lookups() - before; got != 0 {
		t.Errorf("%d lookups, want none", got)
	}
}

// attempts returns the number of attempts of self-heal to which the last sync belongs.
func (o object) attempts() int {
	return o.Status.OperationState.Operation.Sync.AutoHealAttemptsCount
}

// ignoredImage follows a policy of synchronization. Argo CD then ignores the image of Deployments,
// which deploy/docs/gitops.md advises against.
const ignoredImage = `
  ignoreDifferences:
  - {group: apps, kind: Deployment, jsonPointers: [/spec/template/spec/containers/0/image]}`

// TestIgnoredImage ignores the image.
func TestIgnoredImage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit changes the tag. Sync is automated, with self-heal. Then somebody syncs by hand.",
		Result:   "The Application is synced at the new commit, and the Deployment has the old tag. The sync by hand deploys the new one.",
		Settings: "`ignoreDifferences` with the image",
	})
	a, _, two := newIgnored(t, selfHeal+ignoredImage)
	a.argocd("app", "sync", a.Name, "--timeout=60")
	a.RolledOut("deployment/web")
	a.wantImage("synced by hand", two, 2)
}

// TestRespectIgnoredImage ignores the image when it syncs, too.
func TestRespectIgnoredImage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit changes the tag. Sync is automated, with self-heal. Then somebody syncs by hand.",
		Result:   "The Application is synced at the new commit, and the Deployment has the old tag, also after the sync by hand.",
		Settings: "`ignoreDifferences` with the image, `RespectIgnoreDifferences=true`",
	})
	a, one, _ := newIgnored(t, "{automated: {prune: true, selfHeal: true}, "+
		"syncOptions: [RespectIgnoreDifferences=true]}"+ignoredImage)
	a.argocd("app", "sync", a.Name, "--timeout=60")
	o := a.want("synced by hand", "Synced")
	if got, want := o.Status.OperationState.SyncResult.Revision, a.git.Revision(); got != want {
		t.Errorf("the last sync was to %s, want %s", got, want)
	}
	a.wantImage("synced by hand", one, 1)
}

// newIgnored deploys an image, and changes its tag in Git. It checks that Argo CD sees no
// difference. It returns the old image and the new one, with their digests.
func newIgnored(t *testing.T, policy string) (a *app, one, two string) {
	t.Helper()
	s := env.NewSpace(t)
	one, first := s.Push("1")
	two, second := s.Push("2")
	a = newApp(t, s, one, "", policy)
	deployed := a.want("deployed", "Synced").Status.OperationState.StartedAt
	commit := a.deploy(two, "")
	for range 3 {
		o := a.want("another tag", "Synced")
		if got := o.Status.Sync.Revision; got != commit {
			t.Errorf("the Application is at %s, want %s", got, commit)
		}
		if got := o.Status.OperationState.StartedAt; got != deployed {
			t.Errorf("the last sync was at %s, want none after %s", got, deployed)
		}
	}
	a.wantImage("another tag", one+"@"+first, 1)
	return a, one + "@" + first, two + "@" + second
}

// wantImage compares the image of the Deployment web and the number of its ReplicaSets. The
// generation may be any, because it changes with the annotation in which Argo CD stores what it has
// applied last.
func (a *app) wantImage(when, image string, replicaSets int) {
	a.t.Helper()
	a.WantDeployment(when, image, a.Deployment().Generation, replicaSets)
}

// TestPodsOnly pins pods only, and has Argo CD compare as it does if nothing is set.
func TestPodsOnly(t *testing.T) { // not parallel, because it changes the registration
	env.Record(t, neighbours.Check{
		Done:     "The tag moves three times, without `ServerSideDiff=true`. Then a commit changes the tag. Sync is automated, with self-heal.",
		Result:   "While the tag moves, the Application stays synced, and nothing is applied. The Deployment has the tag, its ReplicaSet stays, and no registry is asked. The new tag is one rollout. All pods have digests.",
		Settings: "`pin: [pods]`",
	})
	defer env.PodsOnly(t)()
	s := env.NewSpace(t)
	one, first := s.Push("1")
	a := newApp(t, s, one, "", selfHeal)
	a.wantPods("deployed", one+"@"+first)
	a.wantUnmoved(one, 3)
	a.wantPods("the tag has moved", one+"@"+first)
	two, second := s.Push("2")
	a.synced(a.deploy(two, ""))
	a.RolledOut("deployment/web")
	a.WantDeployment("the new tag", two, 2, 2)
	a.wantPods("the new tag", two+"@"+second)
}

// wantPods waits until the pods of the Deployment web have an image.
func (a *app) wantPods(when, image string) {
	a.t.Helper()
	a.Eventually("the pods "+when, func(ctx context.Context) error {
		got, err := a.Images(ctx, metav1.ListOptions{LabelSelector: "app=web"})
		if want := []string{image, image}; err == nil && !slices.Equal(got, want) {
			err = fmt.Errorf("they run %q, want %q", got, want)
		}
		return err
	})
}
