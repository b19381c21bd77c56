// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/registry"
)

// TestOldDeployment has a Deployment that is older than tagpin. Nothing causes a rollout, and only
// its new pods are pinned. A rollout is pinned, and so is a rollback to the old revision.
func TestOldDeployment(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "")
	one, first := s.push("1")
	two, second := s.push("2")
	s.apply(manifest("Deployment", one, 2))
	s.rolledOut("deployment/web")
	s.enforce()
	before, old, asked := s.deployment(), s.pods(), s.lookups()

	s.edit("deployment/web", "s/^  labels:$/  labels:\\n    new: label/;s/^  name: web$/  name: web\\n  labels:\\n    new: label/")
	if s.deployment().Labels["new"] != "label" {
		t.Error("kubectl edit has added no label")
	}
	s.kubectl("", "scale", "deployment", "web", "--replicas=1")
	s.wantPods("scaled down", 1, one)
	s.kubectl("", "label", "pod", s.pods()[0].Name, "new=label")
	if got := s.lookups() - asked; got != 0 {
		t.Errorf("%d lookups for labels and fewer pods, want none", got)
	}
	s.scale(4)
	s.rolledOut("deployment/web")
	s.wantPods("scaled up", 4, one, one+"@"+first)
	if got := s.lookups() - asked; got != 1 {
		t.Errorf("%d lookups for three pods, want 1", got)
	}
	s.wantStable("scaled", one, 1)
	if diff := cmp.Diff(before.Spec.Template, s.deployment().Spec.Template); diff != "" {
		t.Errorf("pod template, -before +after:\n%s", diff)
	}
	isOld := func(p corev1.Pod) bool { return p.UID == old[0].UID || p.UID == old[1].UID }
	if !slices.ContainsFunc(s.pods(), isOld) {
		t.Error("none of the old pods is left")
	}

	s.kubectl("", "set", "image", "deployment/web", "app="+two)
	s.rolledOut("deployment/web")
	s.wantStable("rolled", two+"@"+second, 2)
	s.wantPods("rolled", 4, two+"@"+second)
	s.kubectl("", "rollout", "undo", "deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("rolled back to an unpinned revision", one+"@"+first, 3)
	s.wantPods("rolled back", 4, one+"@"+first)
	s.kubectl("", "rollout", "undo", "deployment/web")
	s.rolledOut("deployment/web")
	s.wantStable("and again", two+"@"+second, 3)
	s.wantPods("and again", 4, two+"@"+second)
}

// edit changes an object with kubectl edit, with a sed script as the editor.
func (s *space) edit(object, script string) {
	s.t.Helper()
	editor := filepath.Join(s.t.TempDir(), "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\nexec sed -i -e '"+script+"' \"$1\"\n"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if _, stderr, err := env.RunKubectlWith(s.t.Context(), []string{"KUBE_EDITOR=" + editor}, nil, "-n", s.name, "edit", object); err != nil {
		s.t.Fatal(err, stderr)
	}
}

// scale changes the number of replicas through the subresource scale, as autoscalers do.
func (s *space) scale(replicas int32) {
	s.t.Helper()
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: s.name},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}
	api := env.Client.AppsV1().Deployments(s.name)
	if _, err := api.UpdateScale(s.t.Context(), "web", scale, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// TestRevisions moves the tag between restarts. Each revision runs its own digest, also after an
// undo, and after an undo of that.
func TestRevisions(t *testing.T) {
	for name, restart := range map[string]func(s *space, value string){
		"restarted": func(s *space, _ string) { s.restart("deployment/web") },
		"refreshed": func(s *space, value string) {
			s.kubectl("", "patch", "deployment", "web", "--type=merge", "-p",
				`{"spec":{"template":{"metadata":{"annotations":{"tagpin.dev/refresh":"`+value+`"}}}}}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpace(t, "enforce")
			var reference string
			digests := make([]string, 3)
			reference, digests[0] = s.push("1")
			s.apply(manifest("Deployment", reference, 2))
			s.rolledOut("deployment/web")
			for i := 1; i < len(digests); i++ {
				_, digests[i] = s.push("1")
				restart(s, fmt.Sprint(i))
				s.rolledOut("deployment/web")
				s.wantStable("revision "+fmt.Sprint(i+1), reference+"@"+digests[i], i+1)
				s.wantPods("of it", 2, reference+"@"+digests[i])
			}
			_, newest := s.push("1")
			asked := s.lookups()
			// The previous revision twice, then the first, then the previous one. An undo gives the revision
			// a new number.
			for _, tt := range []struct{ to, want string }{
				{"", digests[1]}, {"", digests[2]}, {"1", digests[0]}, {"", digests[2]},
			} {
				s.kubectl("", append([]string{"rollout", "undo", "deployment/web"}, toRevision(tt.to)...)...)
				s.rolledOut("deployment/web")
				s.wantStable("undone to "+tt.to, reference+"@"+tt.want, len(digests))
				s.wantPods("of it", 2, reference+"@"+tt.want)
			}
			if got := s.lookups() - asked; got != 0 {
				t.Errorf("%d lookups for undos, want none", got)
			}
			restart(s, "last")
			s.rolledOut("deployment/web")
			s.wantStable("after all", reference+"@"+newest, len(digests)+1)
		})
	}
}

func toRevision(n string) []string {
	if n == "" {
		return nil
	}
	return []string{"--to-revision=" + n}
}

// TestAppliedWhileRunning applies one manifest several times while its tag moves. No pod is
// replaced.
func TestAppliedWhileRunning(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, digest := s.push("1")
	s.apply(manifest("Deployment", reference, 2))
	s.rolledOut("deployment/web")
	before := s.pods()
	for range 3 {
		s.push("1")
		s.apply(manifest("Deployment", reference, 2))
	}
	s.wantStable("applied again", reference+"@"+digest, 1)
	s.wantPods("applied again", 2, reference+"@"+digest)
	for i, p := range s.pods() {
		if p.UID != before[i].UID {
			t.Errorf("pod %s is new, want the old pods", p.Name)
		}
	}
}

// TestDeferred creates a pull secret after the Deployment that needs it. The pods are denied at
// first, and created by later attempts.
func TestDeferred(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, digest := clustertest.Push(t, env.Token, s.name+"/app:1")
	s.applyDeferred(reference)
	s.kubectl("", "create", "secret", "docker-registry", "pull", "--docker-server="+env.Token.Host,
		"--docker-username="+registry.User, "--docker-password="+registry.Password)
	s.kubectl("", "patch", "serviceaccount", "default", "-p", `{"imagePullSecrets":[{"name":"pull"}]}`)
	s.rolledOut("deployment/web")
	s.wantStable("with its secret", reference, 1)
	s.wantPods("with its secret", 1, reference+"@"+digest)
}

// applyDeferred applies a Deployment whose image does not resolve, and waits until its pods are
// denied.
func (s *space) applyDeferred(reference string) {
	s.t.Helper()
	_, stderr, err := env.RunKubectl(s.t.Context(), strings.NewReader(manifest("Deployment", reference, 1)),
		"-n", s.name, "apply", "-f", "-")
	if err != nil {
		s.t.Fatal(err)
	}
	wantText(s.t, "kubectl apply", stderr, "admitted as it is; its pods wait until the image resolves")
	s.eventually("the pods to be denied", func(context.Context) error {
		events := s.kubectl("", "get", "events", "-o", "jsonpath={.items[*].message}")
		return hasText(events, "denied the request")
	})
}

// TestDeferredImage pushes an image after the Deployment that needs it, where onFailure defers
// missing images.
func TestDeferredImage(t *testing.T) { // not parallel, because it changes the config
	change := func(config string) string { return config + "onFailure: {notFound: defer}\n" }
	if err := env.Reconfigure(t.Context(), change); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Reconfigure(context.WithoutCancel(t.Context()), nil); err != nil {
			t.Error(err)
		}
	}()
	s := newSpace(t, "enforce")
	reference := env.Open.Host + "/" + s.name + "/app:1"
	s.applyDeferred(reference)
	_, digest := s.push("1")
	s.rolledOut("deployment/web")
	s.wantStable("with its image", reference, 1)
	s.wantPods("with its image", 1, reference+"@"+digest)
}
