// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// reconciles is how often Flux reconciles in a test.
const reconciles = 10

// objects are Flux's objects for a Git repository. The verb takes its URL. The intervals are so
// long that Flux reconciles only when it is asked to, and when the artifact changes.
const objects = `
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: web}
spec: {interval: 10h, url: "%s", ref: {branch: main}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: web}
spec:
  interval: 10h
  retryInterval: 10h
  path: ./
  prune: true
  wait: true
  timeout: 2m
  targetNamespace: %s
  sourceRef: {kind: GitRepository, name: web}
`

// app is a namespace whose Deployment web is in a Git repository.
type app struct {
	*neighbours.Space
	t   *testing.T
	git *neighbours.Repository

	requests int // of reconciles
}

// newApp commits a Deployment and waits until Flux has deployed it.
func newApp(t *testing.T, image string, s *neighbours.Space) *app {
	t.Helper()
	a := &app{Space: s, t: t, git: neighbours.NewRepository(t)}
	commit := a.deploy(image, "")
	a.Apply(fmt.Sprintf(objects, a.git.URL, s.Name))
	a.reconcile(commit)
	a.RolledOut("deployment/web")
	return a
}

// deploy commits the Deployment with an image and annotations of its template.
func (a *app) deploy(image, annotations string) (commit string) {
	return a.git.Commit("web.yaml", neighbours.DeploymentManifest(image, annotations))
}

// status is the status of one of Flux's objects.
type status struct {
	LastHandledReconcileAt string
	LastAttemptedRevision  string // of a Kustomization
	LastAppliedRevision    string // of a Kustomization
	Artifact               struct{ Revision string }
	Conditions             []metav1.Condition
}

// ready returns the condition Ready.
func (s status) ready() metav1.Condition {
	for _, c := range s.Conditions {
		if c.Type == "Ready" {
			return c
		}
	}
	return metav1.Condition{}
}

// request asks Flux to reconcile an object, as flux reconcile does, and waits until it has.
func (a *app) request(object string) (got status) {
	a.t.Helper()
	a.requests++
	at := strconv.Itoa(a.requests)
	a.Kubectl("", "annotate", "--overwrite", object, "reconcile.fluxcd.io/requestedAt="+at)
	a.Eventually("Flux to reconcile "+object, func(context.Context) error {
		var o struct{ Status status }
		if err := json.Unmarshal([]byte(a.Kubectl("", "get", object, "-o", "json")), &o); err != nil {
			return err
		}
		got = o.Status
		ready := got.ready().Status
		ended := ready == metav1.ConditionTrue || ready == metav1.ConditionFalse
		if got.LastHandledReconcileAt != at || !ended {
			return fmt.Errorf("its status = %+v, want an answer to request %s", got, at)
		}
		return nil
	})
	return got
}

// reconcile makes Flux fetch a commit and apply it.
func (a *app) reconcile(commit string) {
	a.t.Helper()
	if got := a.request("gitrepository/web").Artifact.Revision; !strings.HasSuffix(got, commit) {
		a.t.Fatalf("the artifact has %s, want commit %s", got, commit)
	}
	got := a.request("kustomization/web")
	applied := strings.HasSuffix(got.LastAppliedRevision, commit)
	if got.ready().Status != metav1.ConditionTrue || !applied {
		a.t.Fatalf("the status of the Kustomization = %+v, want commit %s applied", got, commit)
	}
}

// changes returns how often kustomize-controller has changed the Deployment, as its log says.
func (a *app) changes() int {
	return strings.Count(env.Log("kustomize-controller"), fmt.Sprintf(`"Deployment/%s/web":"configured"`, a.Name))
}

// TestMovedTag moves the tag while Flux reconciles.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves ten times. Flux reconciles each time, every second time with a new commit of another file.",
		Result: "Flux sees no drift. The digest, the Deployment's generation and its ReplicaSet stay, and no registry is asked.",
	})
	s := env.NewSpace(t)
	reference, digest := s.Push("1")
	a := newApp(t, reference, s)
	a.WantDeployment("deployed", reference+"@"+digest, 1, 1)
	before, version := a.Lookups(), a.Deployment().ResourceVersion
	commit := a.git.Revision()
	for i := range reconciles {
		s.Push("1")
		if i%2 == 0 {
			commit = a.git.Commit("README.md", strconv.Itoa(i))
		}
		a.reconcile(commit)
	}
	a.WantDeployment("reconciled", reference+"@"+digest, 1, 1)
	if got := a.Deployment().ResourceVersion; got != version {
		t.Errorf("resourceVersion = %s, want %s as before: something has written the Deployment", got, version)
	}
	if got := a.changes(); got != 0 {
		t.Errorf("Flux has changed the Deployment %d times, want never", got)
	}
	if got := a.Lookups() - before - reconciles; got != 0 { // each push causes one request
		t.Errorf("%d lookups, want none", got)
	}
}

// TestRefresh refreshes the image through Git.
func TestRefresh(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves, and a commit changes `tagpin.dev/refresh` in the pod template. The tag moves again.",
		Result: "One rollout, with the digest of the time of the commit. Flux sees no drift afterwards.",
	})
	s := env.NewSpace(t)
	reference, _ := s.Push("1")
	a := newApp(t, reference, s)
	_, second := s.Push("1")
	commit := a.deploy(reference, "tagpin.dev/refresh: c1")
	a.reconcile(commit)
	a.RolledOut("deployment/web")
	a.WantDeployment("refreshed", reference+"@"+second, 2, 2)
	changes := a.changes()
	if changes != 1 {
		t.Errorf("Flux has changed the Deployment %d times, want once", changes)
	}
	for range 3 {
		s.Push("1")
		a.reconcile(commit)
	}
	a.WantDeployment("reconciled after the refresh", reference+"@"+second, 2, 2)
	if got := a.changes() - changes; got != 0 {
		t.Errorf("Flux has changed the Deployment %d times after the refresh, want never", got)
	}
}

// TestRevert reverts a commit with another tag.
func TestRevert(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A commit changes the tag, and another commit reverts it.",
		Result: "Each is one rollout. After the revert, the old tag is resolved again: if it has not moved, the first ReplicaSet runs again.",
	})
	s := env.NewSpace(t)
	one, first := s.Push("1")
	two, second := s.Push("2")
	a := newApp(t, one, s)
	a.reconcile(a.deploy(two, ""))
	a.RolledOut("deployment/web")
	a.WantDeployment("the new tag", two+"@"+second, 2, 2)
	before := s.Lookups()
	a.reconcile(a.git.Revert())
	a.RolledOut("deployment/web")
	a.WantDeployment("reverted", one+"@"+first, 3, 2)
	if s.Lookups() == before {
		t.Error("the old tag was not looked up after the revert")
	}
}

// TestDrift changes the Deployment behind Flux's back.
func TestDrift(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "The tag moves. Somebody scales the Deployment with kubectl.",
		Result: "Flux corrects the number of replicas. The digest stays, and nothing is rolled out.",
	})
	s := env.NewSpace(t)
	reference, first := s.Push("1")
	a := newApp(t, reference, s)
	commit := a.git.Revision()
	s.Push("1")
	a.Kubectl("", "scale", "deployment/web", "--replicas=5")
	a.reconcile(commit)
	if got := *a.Deployment().Spec.Replicas; got != 2 {
		t.Errorf("%d replicas, want 2 as in Git", got)
	}
	a.WantDeployment("scaled back", reference+"@"+first, 3, 1)
}

// TestImageDrift changes the image behind Flux's back.
func TestImageDrift(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Somebody sets another tag with kubectl. The tag of Git moves.",
		Result: "Flux puts back the tag of Git, and tagpin resolves it again: the pods run what it names now, because the edit has replaced the old pin.",
	})
	s := env.NewSpace(t)
	one, _ := s.Push("1")
	two, second := s.Push("2")
	a := newApp(t, one, s)
	a.Kubectl("", "set", "image", "deployment/web", "app="+two)
	a.WantDeployment("changed", two+"@"+second, 2, 2)
	_, third := s.Push("1")
	a.reconcile(a.git.Revision())
	a.RolledOut("deployment/web")
	a.WantDeployment("put back", one+"@"+third, 3, 3)
}

// TestMissing deploys a tag that does not exist yet.
func TestMissing(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A commit names a tag that is not in the registry. The tag is pushed later.",
		Result: "The dry run is denied. The Kustomization is not ready, and its message is that of tagpin. The old pods go on. The next reconcile deploys the new tag.",
	})
	s := env.NewSpace(t)
	one, first := s.Push("1")
	a := newApp(t, one, s)
	two := strings.TrimSuffix(one, "1") + "2"
	commit := a.deploy(two, "")
	a.request("gitrepository/web")
	got := a.request("kustomization/web").ready()
	if got.Status != metav1.ConditionFalse || !strings.Contains(got.Message, two) ||
		!strings.Contains(got.Message, "tagpin") {
		t.Errorf("the condition = %+v, want one that is false, and tagpin's message about %s", got, two)
	}
	a.WantDeployment("denied", one+"@"+first, 1, 1)
	_, second := s.Push("2")
	a.Eventually("the new tag", func(context.Context) error {
		if got := a.request("kustomization/web"); !strings.HasSuffix(got.LastAppliedRevision, commit) {
			return fmt.Errorf("the status of the Kustomization = %+v", got)
		}
		return nil
	})
	a.RolledOut("deployment/web")
	a.WantDeployment("pushed", two+"@"+second, 2, 2)
}
