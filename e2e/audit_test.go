// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/tools"
	"github.com/tagpin/tagpin/pkg/audit"
)

// auditor runs tagpin audit as a user that may do no more than the chart grants.
type auditor struct{ program, kubeconfig, config string }

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	dir := t.TempDir()
	a := &auditor{dir + "/tagpin", dir + "/kubeconfig", dir + "/config.yaml"}
	if err := tools.Go(t.Context(), "..", "build", "-trimpath", "-o", a.program, "./cmd/tagpin"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(env.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	var k map[string]any
	if err := json.Unmarshal([]byte(kubectl(t, "", "config", "view", "--raw", "--output=json")), &k); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	k["users"].([]any)[0].(map[string]any)["user"].(map[string]any)["as"] = "auditor"
	if text, err = json.Marshal(k); err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(dir, "ca.crt")
	config := fmt.Sprintf("apiVersion: tagpin.dev/v1alpha1\nkind: Config\nnetwork: {allow: [127.0.0.0/8]}\n"+
		"registries: [{host: %q, caFile: %q}]\n", env.Open.Host, roots)
	files := map[string][]byte{a.kubeconfig: text, a.config: []byte(config), roots: env.CA.PEM}
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// run runs tagpin audit and returns what it prints and its exit code.
func (a *auditor) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), a.program,
		append([]string{"audit", "--kubeconfig", a.kubeconfig, "--config", a.config}, args...)...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		exit := new(exec.ExitError)
		if !errors.As(err, &exit) {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return out.String(), errs.String(), code
}

// TestAudit audits pods of a real API server, in more pages than one, with the permissions that the
// chart grants, and without them.
func TestAudit(t *testing.T) {
	a := newAuditor(t)
	ns := newNamespace(t, "off")
	reference, old := push(t, env.Open, repository(t)+":1")
	_, now := push(t, env.Open, repository(t)+":1")
	controller := true
	owner := func(apiVersion, kind, name string, o metav1.Object) []metav1.OwnerReference {
		return []metav1.OwnerReference{{
			APIVersion: apiVersion, Kind: kind, Name: name, UID: o.GetUID(), Controller: &controller,
		}}
	}
	c, _ := newClient(t)
	labels := map[string]string{"app": "web"}
	template := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: clustertest.Pod("web", reference).Spec,
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template,
	}}
	create(t, c, ns, deployment)
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: "web-1", OwnerReferences: owner("apps/v1", "Deployment", "web", deployment)},
		Spec: appsv1.ReplicaSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template,
		},
	}
	create(t, c, ns, set)
	const pods = 600 // more than a page
	api := env.Client.CoreV1().Pods(ns)
	run := func(pod *corev1.Pod, imageID string) {
		pod, err := api.Create(t.Context(), pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		pod.Status.Phase = corev1.PodRunning
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ImageID: imageID}}
		if _, err := api.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	name := strings.TrimSuffix(reference, ":1")
	for i := range pods {
		pod := clustertest.Pod(fmt.Sprint("web-1-", i), reference)
		pod.OwnerReferences = owner("apps/v1", "ReplicaSet", "web-1", set)
		run(pod, name+"@"+old)
	}
	create(t, c, ns, clustertest.Pod("pinned", reference+"@"+now))
	deleted := name + "@sha256:" + strings.Repeat("0", 64)
	run(clustertest.Pod("gone", deleted), deleted)

	_, stderr, code := a.run(t)
	_, advice, forbidden := strings.Cut(stderr, "listing pods in all namespaces is forbidden; ")
	_, advice, _ = strings.Cut(advice, "run: ")
	commands := strings.Split(strings.TrimSpace(advice), " && ")
	if code != 2 || !forbidden || len(commands) != 2 {
		t.Fatalf("without permissions: exit code %d, %s, want 2 and two commands", code, stderr)
	}
	for range 2 { // they also succeed if another user has got the permissions
		for _, command := range commands {
			create, apply, _ := strings.Cut(command, " | ")
			text := kubectl(t, "", strings.Fields(create)[1:]...)
			kubectl(t, text, strings.Fields(apply)[1:]...)
		}
	}
	t.Cleanup(func() {
		ctx, roles := context.WithoutCancel(t.Context()), env.Client.RbacV1()
		err := roles.ClusterRoleBindings().Delete(ctx, "tagpin-audit-reader-auditor", metav1.DeleteOptions{})
		if err := errors.Join(err, roles.ClusterRoles().Delete(ctx, "tagpin-audit-reader", metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
	stdout, stderr, code := a.run(t, "--namespace="+ns, "--output=json")
	var report audit.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil || code != 1 || stderr != "" {
		t.Fatalf("exit code %d, %v, %s, want 1 and a report\n%s", code, err, stderr, stdout)
	}
	var got []string
	for _, f := range report.Containers {
		got = append(got, fmt.Sprintf("%s x%d %v runs %s, tag now %s", f.Workload, f.Count, f.States, f.RunningDigest, f.TagNow()))
	}
	slices.Sort(got)
	want := []string{
		fmt.Sprintf("Deployment/web x600 [drifted unpinned] runs %s, tag now %s", old, now),
		"Pod/gone x1 [gone pinned] runs " + deleted[len(name)+1:] + ", tag now ",
		"Pod/pinned x1 [pinned] runs , tag now ", // it has not started
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings: -want +got\n%s", diff)
	}
	// In all namespaces there are the pods of other tests, whose registries may be down.
	stdout, stderr, code = a.run(t)
	if !strings.Contains(stdout, "Deployment/web") || code != 1 && code != 3 {
		t.Errorf("all namespaces: exit code %d, %s, want 1 or 3, and the Deployment\n%s", code, stderr, stdout)
	}
}
