// SPDX-License-Identifier: Apache-2.0

package argocd

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestMovedTag moves the tag while Argo CD compares.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves ten times. Argo CD refreshes each time, every second time with a new commit of another file. Sync is automated, with self-heal.",
		Result:   "The Application stays synced, and nothing is applied. The digest, the Deployment's generation and its ReplicaSet stay, and no registry is asked.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff, selfHeal)
	a.wantUnmoved(reference+"@"+digest, 10)
}

// wantUnmoved moves the tag some times, and checks that Argo CD sees no difference and that the
// Deployment still has an image.
func (a *app) wantUnmoved(image string, times int) {
	a.t.Helper()
	commit := a.git.Revision()
	a.synced(commit)
	a.WantDeployment("deployed", image, 1, 1)
	before, version, synced := a.Lookups(), a.Deployment().ResourceVersion, a.get()
	for i := range times {
		a.Push("1")
		if i%2 == 0 {
			commit = a.git.Commit("README.md", strconv.Itoa(i))
		}
		if o := a.want("the tag has moved", "Synced"); o.Status.Sync.Revision != commit {
			a.t.Fatalf("the Application is at %s, want %s", o.Status.Sync.Revision, commit)
		}
	}
	a.WantDeployment("compared", image, 1, 1)
	if got := a.Deployment().ResourceVersion; got != version {
		a.t.Errorf("resourceVersion = %s, want %s as before: something has written the Deployment", got, version)
	}
	after, want := a.get().Status.OperationState.StartedAt, synced.Status.OperationState.StartedAt
	if after != want {
		a.t.Errorf("the last sync was at %s, want none after %s", after, want)
	}
	if got := a.Lookups() - before - times; got != 0 { // each push causes one request
		a.t.Errorf("%d lookups, want none", got)
	}
}

// TestRefresh refreshes the image through Git.
func TestRefresh(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves, and a commit changes `tagpin.dev/refresh` in the pod template. The tag moves again.",
		Result:   "One rollout, with the digest of the time of the commit. Then the Application stays synced.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	reference, _ := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff, selfHeal)
	_, second := s.Push("1")
	a.synced(a.deploy(reference, "tagpin.dev/refresh: c1"))
	a.RolledOut("deployment/web")
	a.WantDeployment("refreshed", reference+"@"+second, 2, 2)
	for range 3 {
		s.Push("1")
		a.want("the tag has moved", "Synced")
	}
	a.WantDeployment("compared after the refresh", reference+"@"+second, 2, 2)
}

// TestRevert reverts a commit with another tag.
func TestRevert(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit changes the tag, and another commit reverts it.",
		Result:   "Each is one rollout. After the revert, the old tag is resolved again: if it has not moved, the first ReplicaSet runs again.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	one, first := s.Push("1")
	two, second := s.Push("2")
	a := newApp(t, s, one, serverSideDiff, selfHeal)
	a.synced(a.deploy(two, ""))
	a.RolledOut("deployment/web")
	a.WantDeployment("the new tag", two+"@"+second, 2, 2)
	before := s.Lookups()
	a.synced(a.git.Revert())
	a.RolledOut("deployment/web")
	a.WantDeployment("reverted", one+"@"+first, 3, 2)
	if s.Lookups() == before {
		t.Error("the old tag was not looked up after the revert")
	}
}

// TestRollback goes back by Argo CD's own command.
func TestRollback(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit changes the tag, and is synced by hand. The old tag moves. `argocd app rollback` goes back.",
		Result:   "The old tag is resolved again: the pods run what it names now.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	one, _ := s.Push("1")
	two, second := s.Push("2")
	a := newApp(t, s, one, serverSideDiff, byHand)
	a.deploy(two, "")
	a.want("another tag", "OutOfSync")
	a.argocd("app", "sync", s.Name)
	a.RolledOut("deployment/web")
	a.WantDeployment("the new tag", two+"@"+second, 2, 2)
	_, third := s.Push("1")
	history := a.get().Status.History
	a.argocd("app", "rollback", s.Name, strconv.Itoa(history[0].ID))
	a.RolledOut("deployment/web")
	a.WantDeployment("rolled back", one+"@"+third, 3, 3)
}

// TestRestart restarts the Deployment by Argo CD's action, and undoes that.
func TestRestart(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves. `argocd app actions run` restarts the Deployment, with self-heal. Then `kubectl rollout undo`.",
		Result:   "The restart is one rollout, with the digest of its time. The undo runs the first digest again. The Application stays synced.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	reference, first := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff, selfHeal)
	_, second := s.Push("1")
	a.restart()
	a.WantDeployment("restarted", reference+"@"+second, 2, 2)
	a.want("restarted", "Synced")
	a.Kubectl("", "rollout", "undo", "deployment/web")
	a.RolledOut("deployment/web")
	a.want("undone", "Synced")
	a.WantDeployment("undone", reference+"@"+first, 3, 2)
}

// restart restarts the Deployment by Argo CD's action.
func (a *app) restart() {
	a.t.Helper()
	a.argocd("app", "actions", "run", a.Name, "restart", "--kind=Deployment", "--resource-name=web")
	a.RolledOut("deployment/web")
	const annotation = "kubectl.kubernetes.io/restartedAt"
	if got := a.Deployment().Spec.Template.Annotations[annotation]; got == "" {
		a.t.Errorf("the action has not written %s", annotation)
	}
}

// TestSelfHeal changes the Deployment behind Argo CD's back.
func TestSelfHeal(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves. Somebody scales the Deployment with kubectl.",
		Result:   "Self-heal corrects the number of replicas. The digest stays, and nothing is rolled out.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	reference, first := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff, selfHeal)
	s.Push("1")
	a.Kubectl("", "scale", "deployment/web", "--replicas=5")
	a.Eventually("self-heal", func(context.Context) error {
		if got := *a.Deployment().Spec.Replicas; got != 2 {
			return fmt.Errorf("%d replicas, want 2 as in Git", got)
		}
		return nil
	})
	a.WantDeployment("scaled back", reference+"@"+first, 3, 1)
}

// TestSelfHealImage changes the image behind Argo CD's back.
func TestSelfHealImage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag of Git moves. Somebody sets another tag with kubectl.",
		Result:   "Self-heal puts back the tag of Git, and tagpin resolves it again: the pods run what it names now, because the edit has replaced the old pin.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	one, _ := s.Push("1")
	two, _ := s.Push("2")
	a := newApp(t, s, one, serverSideDiff, selfHeal)
	_, third := s.Push("1")
	a.Kubectl("", "set", "image", "deployment/web", "app="+two)
	a.Eventually("self-heal", func(context.Context) error {
		if got := a.Deployment().Spec.Template.Spec.Containers[0].Image; strings.HasPrefix(got, two) {
			return fmt.Errorf("the image is %s", got)
		}
		return nil
	})
	a.RolledOut("deployment/web")
	a.WantDeployment("put back", one+"@"+third, 3, 3)
}

// TestMissing deploys a tag that does not exist yet.
func TestMissing(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit names a tag that is not in the registry. The tag is pushed later.",
		Result:   "The comparison is denied: the state of the Application is unknown, and its condition has tagpin's message. The Deployment stays as it is. The next refresh after the push deploys the new tag.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	one, first := s.Push("1")
	a := newApp(t, s, one, serverSideDiff, selfHeal)
	two := strings.TrimSuffix(one, "1") + "2"
	commit := a.deploy(two, "")
	o := a.want("a missing tag", "Unknown")
	if got := fmt.Sprint(o.Status.Conditions); !strings.Contains(got, "tagpin") || !strings.Contains(got, two) {
		t.Errorf("the conditions = %s, want tagpin's message about %s", got, two)
	}
	a.WantDeployment("denied", one+"@"+first, 1, 1)
	_, second := s.Push("2")
	a.synced(commit)
	a.RolledOut("deployment/web")
	a.WantDeployment("pushed", two+"@"+second, 2, 2)
}

// TestMissingByHand deploys such a tag by hand, while sync is automated.
func TestMissingByHand(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A commit names a tag that is not in the registry, and somebody syncs by hand. The tag is pushed later.",
		Result:   "The sync is denied, with tagpin's message. Argo CD does not sync this commit by itself any more. The next sync by hand deploys the new tag.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	one, first := s.Push("1")
	a := newApp(t, s, one, serverSideDiff, selfHeal)
	two := strings.TrimSuffix(one, "1") + "2"
	a.deploy(two, "")
	a.want("a missing tag", "Unknown")
	out, err := a.tryArgocd("app", "sync", s.Name)
	if err == nil || !strings.Contains(out, "tagpin") || !strings.Contains(out, two) {
		t.Errorf("argocd app sync: %v and %s, want tagpin's message about %s", err, out, two)
	}
	_, second := s.Push("2")
	o := a.want("pushed", "OutOfSync")
	if got := fmt.Sprint(o.Status.Conditions); !strings.Contains(got, "Failed last sync attempt") {
		t.Errorf("the conditions = %s, want the failure", got)
	}
	a.WantDeployment("pushed", one+"@"+first, 1, 1)
	a.argocd("app", "sync", s.Name)
	a.RolledOut("deployment/web")
	a.WantDeployment("synced by hand", two+"@"+second, 2, 2)
}

// TestMissingFirst deploys a tag that does not exist yet, as the first one.
func TestMissingFirst(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The first commit names a tag that is not in the registry. The tag is pushed later.",
		Result:   "The sync is denied, with tagpin's message. Argo CD tries again by itself, up to five more times if nothing else is set, and deploys the tag.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	a := &app{Space: s, t: t, git: neighbours.NewRepository(t)}
	one := env.Open.Host + "/" + s.Name + "/app:1"
	commit := a.deploy(one, "")
	a.create(serverSideDiff, selfHeal)
	o := a.until("the denial", func(o object) bool {
		return strings.Contains(o.Status.OperationState.Message, "tagpin")
	})
	if got := o.Status.OperationState.Message; !strings.Contains(got, one) {
		t.Errorf("the message = %s, want %s in it", got, one)
	}
	_, digest := s.Push("1")
	a.until("the next attempt", func(o object) bool {
		return o.Status.Sync.Status == "Synced" && o.Status.Sync.Revision == commit &&
			o.Status.OperationState.Phase == "Succeeded"
	})
	a.RolledOut("deployment/web")
	a.WantDeployment("pushed", one+"@"+digest, 1, 1)
}

// TestRemoval switches tagpin off for the namespace, in the two steps of the guide.
func TestRemoval(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The tag moves. The namespace gets the mode `keep`, and later none.",
		Result:   "With `keep`, the Application stays synced. Without a mode, self-heal removes the digest: a rollout of the tag.",
		Settings: "`ServerSideDiff=true`",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, s, reference, serverSideDiff, selfHeal)
	s.Push("1")
	a.mode("keep")
	for range 3 {
		a.want("the mode keep", "Synced")
	}
	a.WantDeployment("kept", reference+"@"+digest, 1, 1)
	a.mode("")
	a.Eventually("the rollout of the tag", func(context.Context) error {
		a.refresh()
		if got := a.Deployment().Spec.Template.Spec.Containers[0].Image; got != reference {
			return fmt.Errorf("the image is %s", got)
		}
		return nil
	})
	a.RolledOut("deployment/web")
	a.WantDeployment("without a mode", reference, 2, 2)
	a.synced(a.git.Revision())
}

// mode labels the namespace.
func (a *app) mode(mode string) {
	a.t.Helper()
	label := cluster.ModeLabel + "=" + mode
	if mode == "" {
		label = cluster.ModeLabel + "-"
	}
	a.Kubectl("", "label", "--overwrite", "namespace", a.Name, label)
}
