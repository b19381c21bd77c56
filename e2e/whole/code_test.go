// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// TestRunsWhatWasDeployed shows the purpose of tagpin by the answers of programs: after a tag has
// moved, no other code runs until somebody asks for it. A rollback asks for it too.
func TestRunsWhatWasDeployed(t *testing.T) {
	n := theNode(t)
	ns := newNamespace(t, n, "enforce")
	reference, one := push(t, n, "web", "one")
	apply(t, n, ns, "web", reference, 2)
	w := want{ns: ns, app: "web", replicas: 2, digest: one, code: "one"}
	pods, took := w.runs(t, n)
	t.Logf("2 pods with a new image are ready after %v", took)
	for _, p := range pods {
		if got := p.Spec.Containers[0].Image; got != reference+"@"+one {
			t.Errorf("image = %s, want %s@%s", got, reference, one)
		}
	}
	answers(t, ns, "one")

	_, two := push(t, n, "web", "two")
	clustertest.Kubectl(t, n, "", "--namespace="+ns, "delete", "pod", pods[0].Name, "--wait=false")
	w.gone = map[string]bool{pods[0].Name: true}
	_, took = w.runs(t, n)
	t.Logf("the tag has moved; the pod that replaces a deleted one is ready after %v", took)

	clustertest.Kubectl(t, n, "", "--namespace="+ns, "rollout", "restart", "deployment/web")
	w = want{ns: ns, app: "web", replicas: 2, digest: two, code: "two"}
	_, took = w.runs(t, n)
	t.Logf("2 restarted pods are ready after %v", took)
	answers(t, ns, "two")

	clustertest.Kubectl(t, n, "", "--namespace="+ns, "rollout", "undo", "deployment/web")
	w.digest, w.code = one, "one"
	_, took = w.runs(t, n)
	t.Logf("2 pods of the previous revision are ready after %v", took)
	answers(t, ns, "one")
}

// answers checks the answer of the Service web.
func answers(t *testing.T, ns, code string) {
	t.Helper()
	n := theNode(t)
	service, err := n.Client.CoreV1().Services(ns).Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got string
	poll.Until(t, func(ctx context.Context) (err error) { // kube-proxy learns of pods with a delay
		got, err = n.Get(ctx, "http://"+service.Spec.ClusterIP)
		return err
	})
	if got != code {
		t.Errorf("answer of the Service = %q, want %q", got, code)
	}
}

// TestOldPodGoesOn adds a label to a pod that is older than tagpin. Nothing else about the pod
// changes.
func TestOldPodGoesOn(t *testing.T) {
	n := theNode(t)
	ns := newNamespace(t, n, "off")
	reference, digest := push(t, n, "old", "old")
	pods := n.Client.CoreV1().Pods(ns)
	if _, err := pods.Create(t.Context(), clustertest.Pod("old", reference), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w := want{ns: ns, app: "old", replicas: 1, digest: digest, code: "old"}
	w.runs(t, n)
	switchOn(t, n, ns, "enforce")
	_, moved := push(t, n, "old", "new")
	before, err := pods.Get(t.Context(), "old", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	clustertest.Kubectl(t, n, "", "--namespace="+ns, "label", "pod", "old", "team=a")
	after, err := pods.Get(t.Context(), "old", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if after.Labels["team"] != "a" || after.Generation != before.Generation ||
		len(after.Annotations) != len(before.Annotations) {
		t.Errorf("metadata = %+v, want only a label in addition to %+v",
			after.ObjectMeta, before.ObjectMeta)
	}
	if got := after.Spec.Containers[0].Image; got != reference {
		t.Errorf("image = %s, want %s", got, reference)
	}
	// The kubelet still starts new pods.
	newer := clustertest.Pod("new", reference)
	if _, err := pods.Create(t.Context(), newer, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	want{ns: ns, app: "new", replicas: 1, digest: moved, code: "new"}.runs(t, n)
	pod, _ := w.runs(t, n)
	was, is := before.Status.ContainerStatuses[0], pod[0].Status.ContainerStatuses[0]
	if is.ContainerID != was.ContainerID || is.RestartCount != 0 {
		t.Errorf("container %s was restarted %d times, want %s without a restart",
			is.ContainerID, is.RestartCount, was.ContainerID)
	}
}
