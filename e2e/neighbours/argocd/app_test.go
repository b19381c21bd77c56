// SPDX-License-Identifier: Apache-2.0

package argocd

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// serverSideDiff is the annotation that deploy/docs/gitops.md recommends.
const serverSideDiff = "ServerSideDiff=true"

// Policies of synchronization.
const (
	selfHeal = "{automated: {prune: true, selfHeal: true}}"
	byHand   = "{}"
)

// application is an Application for a Git repository. The verbs take its name, which is the
// namespace of its objects too, the options of the comparison, the URL of the repository, and the
// policy of synchronization, after which other fields of the spec may follow.
const application = `
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: %[1]s
  namespace: argocd
  annotations: {argocd.argoproj.io/compare-options: "%[2]s"}
spec:
  project: default
  source: {repoURL: "%[3]s", targetRevision: main, path: .}
  destination: {server: "https://kubernetes.default.svc", namespace: %[1]s}
  syncPolicy: %[4]s
`

// app is a namespace whose Deployment web is in a Git repository.
type app struct {
	*neighbours.Space
	t   *testing.T
	git *neighbours.Repository
}

// newApp commits a Deployment and waits until Argo CD has deployed it.
func newApp(t *testing.T, s *neighbours.Space, image, compareOptions, policy string) *app {
	t.Helper()
	a := &app{Space: s, t: t, git: neighbours.NewRepository(t)}
	commit := a.deploy(image, "")
	a.create(compareOptions, policy)
	if policy == byHand {
		a.argocd("app", "sync", s.Name)
	}
	a.until("the first sync", func(o object) bool {
		return o.Status.OperationState.Phase == "Succeeded" &&
			o.Status.OperationState.SyncResult.Revision == commit && o.Operation == nil
	})
	a.RolledOut("deployment/web")
	return a
}

// create creates the Application.
func (a *app) create(compareOptions, policy string) {
	a.t.Helper()
	manifest := fmt.Sprintf(application, a.Name, compareOptions, a.git.URL, policy)
	clustertest.Kubectl(a.t, env, manifest, "apply", "-f", "-")
}

// deploy commits the Deployment with an image and annotations of its template.
func (a *app) deploy(image, annotations string) (commit string) {
	return a.git.Commit("web.yaml", neighbours.DeploymentManifest(image, annotations))
}

// object has parts of an Application.
type object struct {
	Metadata  struct{ Annotations map[string]string }
	Operation map[string]any // that has not begun
	Status    struct {
		Sync           struct{ Status, Revision string }
		Conditions     []struct{ Type, Message string }
		History        []struct{ ID int }
		OperationState struct {
			Phase, Message, StartedAt string
			SyncResult                struct{ Revision string }
			Operation                 struct {
				Sync struct{ AutoHealAttemptsCount int }
			}
		}
	}
}

// get returns the Application.
func (a *app) get() (o object) {
	a.t.Helper()
	text := clustertest.Kubectl(a.t, env, "",
		"-n", "argocd", "get", "application", a.Name, "-o", "json")
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		a.t.Fatal(err)
	}
	return o
}

// patch merges a patch into the Application.
func (a *app) patch(patch string) {
	a.t.Helper()
	clustertest.Kubectl(a.t, env, "", "-n", "argocd", "patch", "application", a.Name,
		"--type=merge", "--patch="+patch)
}

// until waits until the Application is as ok wants it.
func (a *app) until(what string, ok func(object) bool) (o object) {
	a.t.Helper()
	a.Eventually(what, func(context.Context) error {
		if o = a.get(); !ok(o) {
			return fmt.Errorf("the Application = %+v", o)
		}
		return nil
	})
	return o
}

const refresh = "argocd.argoproj.io/refresh"

// refresh makes Argo CD read the repository and compare, and waits until it has.
func (a *app) refresh() object {
	a.t.Helper()
	a.patch(`{"metadata":{"annotations":{"` + refresh + `":"normal"}}}`)
	return a.until("the comparison", func(o object) bool {
		_, asked := o.Metadata.Annotations[refresh]
		return !asked
	})
}

// synced makes Argo CD read the repository and waits until the automated sync has applied a commit.
func (a *app) synced(commit string) {
	a.t.Helper()
	a.refresh()
	a.until("the sync of "+commit, func(o object) bool {
		return o.Status.Sync.Status == "Synced" && o.Status.Sync.Revision == commit &&
			o.Operation == nil && o.Status.OperationState.Phase == "Succeeded"
	})
}

// want compares the status of the synchronization after a refresh.
func (a *app) want(when, status string) object {
	a.t.Helper()
	o := a.refresh()
	if got := o.Status.Sync.Status; got != status {
		a.t.Fatalf("%s: the Application is %s, want %s: %+v", when, got, status, o)
	}
	return o
}

// argocd runs Argo CD's command line and returns what it prints.
func (a *app) argocd(args ...string) string {
	a.t.Helper()
	out, err := a.tryArgocd(args...)
	if err != nil {
		a.t.Fatal(err)
	}
	return out
}

// tryArgocd is argocd for commands that may fail.
func (a *app) tryArgocd(args ...string) (string, error) {
	a.t.Helper()
	cmd := exec.CommandContext(a.t.Context(), filepath.Join(env.Dir, "cmd"),
		append(args, "--server="+server.address, "--plaintext")...)
	cmd.Env = append(os.Environ(), "ARGOCD_BINARY_NAME=argocd", "HOME="+env.Scratch)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("argocd %s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out), err
}
