// SPDX-License-Identifier: Apache-2.0

package helm

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// moves is how often a tag moves in a test.
const moves = 10

// TestMovedTag moves the tag, and upgrades.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves ten times. `helm upgrade --wait` runs each time, every second time with another value, which does not change the Deployment. Then it changes the number of replicas, and `helm rollback` changes it back.",
		Result: "The digest, the Deployment's template and its ReplicaSet stay, and no registry is asked. New pods run the digest of the old ones.",
	})
	each(t, func(r *release, reference, digest string) {
		before := r.Lookups()
		for i := range moves {
			r.Push("1")
			r.upgrade("image="+reference, fmt.Sprint("note=n", i/2))
		}
		r.WantDeployment("upgraded", reference+"@"+digest, 1, 1)
		r.upgrade("image="+reference, "replicas=3")
		r.wantPods("scaled", reference+"@"+digest, 3)
		r.rollback(previous)
		r.WantDeployment("rolled back", reference+"@"+digest, 3, 1)
		r.wantPods("rolled back", reference+"@"+digest, 2)
		if got := r.Lookups() - before - moves; got != 0 { // each push causes one request
			r.t.Errorf("%d lookups, want none", got)
		}
	})
}

// TestNewTag upgrades to another tag, and rolls back.
func TestNewTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "`helm upgrade --wait` changes the tag, and `helm rollback --wait` changes it back. Both run again, and the first tag moves between them.",
		Result: "Each is one rollout. A rollback to another tag resolves that tag again: if it has not moved, the first ReplicaSet runs again, and otherwise what the tag names now.",
	})
	each(t, func(r *release, one, first string) {
		two, second := r.Push("2")
		r.upgrade("image=" + two)
		r.WantDeployment("the new tag", two+"@"+second, 2, 2)
		r.wantPods("the new tag", two+"@"+second, 2)
		r.rollback("1")
		r.WantDeployment("rolled back", one+"@"+first, 3, 2)
		r.wantPods("rolled back", one+"@"+first, 2)
		r.upgrade("image=" + two)
		r.WantDeployment("the new tag again", two+"@"+second, 4, 2)
		_, third := r.Push("1")
		r.rollback("1")
		r.WantDeployment("rolled back to a moved tag", one+"@"+third, 5, 3)
		r.wantPods("rolled back to a moved tag", one+"@"+third, 2)
	})
}

// TestMissing upgrades to a tag that does not exist yet.
func TestMissing(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "`helm upgrade` names a tag that is not in the registry, with `--atomic` (Helm 3) or `--rollback-on-failure` (Helm 4). The first tag moves. The missing tag is pushed later.",
		Result: "The upgrade fails with tagpin's message, and Helm rolls back. The old pods go on, with their digest and their ReplicaSet. The next upgrade deploys the new tag.",
	})
	each(t, func(r *release, one, first string) {
		two := strings.TrimSuffix(one, "1") + "2"
		r.Push("1")
		flag := "--atomic"
		if r.four {
			flag = "--rollback-on-failure"
		}
		out, err := r.try("upgrade", "web", r.chart, flag, "--set", "note=x,image="+two)
		denied := strings.Contains(out, "denied the request") && strings.Contains(out, "can't pin "+two)
		if err == nil || !denied {
			r.t.Errorf("helm upgrade = %v\n%s\nwant tagpin's denial of %s", err, out, two)
		}
		if got := r.run("history", "web"); !strings.Contains(got, "Rollback to 1") {
			r.t.Errorf("helm history = %s\nwant a rollback to revision 1", got)
		}
		r.WantDeployment("denied", one+"@"+first, 1, 1)
		r.wantPods("denied", one+"@"+first, 2)
		_, second := r.Push("2")
		r.upgrade("image=" + two)
		r.WantDeployment("pushed", two+"@"+second, 2, 2)
	})
}

// TestRestart upgrades after a restart that Helm doesn't know of.
func TestRestart(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves, and `kubectl rollout restart` restarts the Deployment. The tag moves again, and `helm upgrade` runs with the same values.",
		Result: "The restart runs what the tag names then. Helm reports no conflict, the restart's annotation and its digest stay, and nothing is rolled out.",
	})
	each(t, func(r *release, reference, _ string) {
		_, second := r.Push("1")
		r.Kubectl("", "rollout", "restart", "deployment/web")
		r.RolledOut("deployment/web")
		r.WantDeployment("restarted", reference+"@"+second, 2, 2)
		r.Push("1")
		r.upgrade("image=" + reference)
		r.WantDeployment("upgraded", reference+"@"+second, 2, 2)
		r.wantPods("upgraded", reference+"@"+second, 2)
	})
}

// TestRefresh refreshes the image by a value, and rolls back.
func TestRefresh(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The chart writes a value into `tagpin.dev/refresh`. The tag moves, and `helm upgrade` changes that value. The tag moves again, and `helm rollback` changes it back.",
		Result: "The upgrade is one rollout, with what the tag names then. The rollback is another refresh: one rollout, with what the tag names then.",
	})
	each(t, func(r *release, reference, first string) {
		const value = `annotations.tagpin\.dev/refresh=`
		r.upgrade("image="+reference, value+"c1")
		r.WantDeployment("the first value", reference+"@"+first, 2, 2)
		_, second := r.Push("1")
		r.upgrade("image="+reference, value+"c2")
		r.WantDeployment("refreshed", reference+"@"+second, 3, 3)
		r.wantPods("refreshed", reference+"@"+second, 2)
		_, third := r.Push("1")
		r.rollback("2")
		r.WantDeployment("rolled back", reference+"@"+third, 4, 4)
		r.wantPods("rolled back", reference+"@"+third, 2)
	})
}

// TestHook has a hook with the same image.
func TestHook(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The chart has a Job with the same image as the hook `pre-upgrade`. The tag moves, and `helm upgrade` runs.",
		Result: "Helm creates the Job anew for each upgrade, and so it runs what the tag names then. The Deployment keeps its digest. With a new tag, both run the same digest.",
	})
	each(t, func(r *release, one, first string) {
		_, second := r.Push("1")
		r.upgrade("image="+one, "hook=true")
		if got, want := r.hook(), one+"@"+second; got != want {
			r.t.Errorf("the hook runs %s, want %s", got, want)
		}
		r.WantDeployment("upgraded", one+"@"+first, 1, 1)
		two, third := r.Push("2")
		r.upgrade("image="+two, "hook=true")
		if got, want := r.hook(), two+"@"+third; got != want {
			r.t.Errorf("the hook of a new tag runs %s, want %s", got, want)
		}
		r.WantDeployment("a new tag", two+"@"+third, 2, 2)
	})
}

// TestUninstall uninstalls the release, and installs it again.
func TestUninstall(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves. `helm uninstall --wait` removes the release, and `helm upgrade --install --wait` installs it again.",
		Result: "The pods of the release are deleted. The new Deployment runs what the tag names then.",
	})
	each(t, func(r *release, reference, _ string) {
		_, second := r.Push("1")
		r.run("uninstall", "web", "--wait")
		r.Eventually("the pods to be deleted", func(ctx context.Context) error {
			list, err := env.Client.CoreV1().Pods(r.Name).List(ctx, metav1.ListOptions{})
			if err == nil && len(list.Items) > 0 {
				err = fmt.Errorf("%d pods are left", len(list.Items))
			}
			return err
		})
		r.upgrade("image=" + reference)
		r.WantDeployment("installed again", reference+"@"+second, 1, 1)
		r.wantPods("installed again", reference+"@"+second, 2)
	})
}
