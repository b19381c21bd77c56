// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

// newNamespace creates a namespace in a mode, and returns when tagpin serves it. The end of the
// test deletes it.
func newNamespace(t *testing.T, n *node.Node, mode string) string {
	t.Helper()
	ns := clustertest.NewNamespace(t, n.Client, "e2e-", nil)
	deleteAtEnd(t, n, ns)
	poll.Until(t, func(ctx context.Context) error { // a controller creates it
		_, err := n.Client.CoreV1().ServiceAccounts(ns).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if mode != "off" {
		switchOn(t, n, ns, mode)
	}
	return ns
}

// deleteAtEnd deletes a namespace at the end of the test.
func deleteAtEnd(t *testing.T, n *node.Node, ns string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, api := context.WithoutCancel(t.Context()), n.Client.CoreV1().Namespaces()
		if err := api.Delete(ctx, ns, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// switchOn labels a namespace, and returns when tagpin serves it. The API server learns of labels
// and of tagpin's pods with a delay.
func switchOn(t *testing.T, n *node.Node, ns, mode string) {
	t.Helper()
	clustertest.Kubectl(t, n, "", "label", "namespace", ns, node.ModeLabel+"="+mode, "--overwrite")
	reference, digest := push(t, n, "probe", t.Name())
	poll.Until(t, func(ctx context.Context) error {
		pod, err := clustertest.DryRun(ctx, n.Client, ns, clustertest.Pod("probe", reference))
		if err == nil && pod.Spec.Containers[0].Image != reference+"@"+digest {
			err = errors.New("a pod is not pinned")
		}
		return err
	})
}

// push pushes an image whose program answers with code, as a repository of the test with the tag 1.
// It returns the reference and the digest. An existing tag is moved.
func push(t *testing.T, n *node.Node, repository, code string) (reference, digest string) {
	t.Helper()
	image, err := n.AppImage(t.Context(), code)
	if err != nil {
		t.Fatal(err)
	}
	tag := strings.ToLower(t.Name()) + "/" + repository + ":1"
	if digest, err = n.Registry.Push(tag, image); err != nil {
		t.Fatal(err)
	}
	return n.Registry.Host + "/" + tag, digest
}

// deploy is the manifest of a Deployment and its Service. The verbs take a name, an image and a
// number of replicas.
const deploy = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[3]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      containers:
      - name: app
        image: %[2]s
        readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{port: 80, targetPort: 8080}]
`

// apply applies deploy in a namespace.
func apply(t *testing.T, n *node.Node, ns, name, image string, replicas int) {
	t.Helper()
	clustertest.Kubectl(t, n, fmt.Sprintf(deploy, name, image, replicas), "apply", "--namespace="+ns, "--filename=-")
}

// want describes the expected pods of an app: their number, their digest, and their program's
// answer. None may be among gone.
type want struct {
	ns, app  string
	replicas int
	digest   string
	code     string
	gone     map[string]bool
}

// runs waits until the pods are as expected, and returns them and the time that it took.
func (w want) runs(t *testing.T, n *node.Node) (pods []corev1.Pod, took time.Duration) {
	t.Helper()
	began := time.Now()
	poll.Until(t, func(ctx context.Context) error {
		list, err := n.Client.CoreV1().Pods(w.ns).List(ctx, metav1.ListOptions{LabelSelector: "app=" + w.app})
		if err != nil {
			return err
		}
		if pods = list.Items; len(pods) != w.replicas {
			return fmt.Errorf("%d pods of %s, want %d", len(pods), w.app, w.replicas)
		}
		for i := range pods {
			if err := w.check(ctx, n, &pods[i]); err != nil {
				return fmt.Errorf("pod %s: %w", pods[i].Name, err)
			}
		}
		return nil
	})
	return pods, time.Since(began).Round(time.Millisecond)
}

// check compares a pod's status and its program's answer.
func (w want) check(ctx context.Context, n *node.Node, pod *corev1.Pod) error {
	if w.gone[pod.Name] || pod.DeletionTimestamp != nil {
		return errors.New("it still exists")
	}
	if !isReady(pod) {
		return fmt.Errorf("it is not ready: %+v", pod.Status.ContainerStatuses)
	}
	if got := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(got, "@"+w.digest) {
		return fmt.Errorf("imageID = %s, want %s", got, w.digest)
	}
	got, err := n.Get(ctx, "http://"+pod.Status.PodIP+":8080")
	if err == nil && got != w.code {
		err = fmt.Errorf("answer = %q, want %q", got, w.code)
	}
	return err
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
