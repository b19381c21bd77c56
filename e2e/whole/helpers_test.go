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

	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

// kubectl runs kubectl, which has to succeed, and returns its stdout.
func kubectl(t *testing.T, n *node.Node, stdin string, args ...string) string {
	t.Helper()
	stdout, _, err := n.RunKubectl(t.Context(), strings.NewReader(stdin), args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout
}

// newNamespace makes a namespace of a mode, and returns when tagpin answers for it. The end of the test removes it.
func newNamespace(t *testing.T, n *node.Node, mode string) string {
	t.Helper()
	ns, err := n.Client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Client.CoreV1().Namespaces().Delete(context.WithoutCancel(t.Context()), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	poll.Until(t, func(ctx context.Context) error { // its controller makes it
		_, err := n.Client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	if mode != "off" {
		switchOn(t, n, ns.Name, mode)
	}
	return ns.Name
}

// switchOn labels a namespace, and returns when tagpin answers for it: the API server sees labels and tagpin's pods a
// little later.
func switchOn(t *testing.T, n *node.Node, ns, mode string) {
	t.Helper()
	kubectl(t, n, "", "label", "namespace", ns, node.ModeLabel+"="+mode, "--overwrite")
	reference, digest := push(t, n, "probe", t.Name())
	poll.Until(t, func(ctx context.Context) error {
		pod := newPod("probe", reference)
		pod, err := n.Client.CoreV1().Pods(ns).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && pod.Spec.Containers[0].Image != reference+"@"+digest {
			err = errors.New("a pod is not pinned")
		}
		return err
	})
}

// push pushes an image of the test's own that tells code, as repository:1, and returns the reference and the digest. Pushed
// again, the tag has moved.
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

func newPod(name, image string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": name}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: image}}},
	}
}

// deploy is a Deployment and its Service, of a name, an image and a number of replicas.
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
	kubectl(t, n, fmt.Sprintf(deploy, name, image, replicas), "apply", "--namespace="+ns, "--filename=-")
}

// want are the pods of an app as they should be: so many, all of one digest, all of one code, and none of those.
type want struct {
	ns, app  string
	replicas int
	digest   string
	code     string
	gone     map[string]bool
}

// runs waits until it is so, and returns the pods and how long it took.
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

// check compares one pod: what kubelet says that it runs, and what it answers.
func (w want) check(ctx context.Context, n *node.Node, pod *corev1.Pod) error {
	if w.gone[pod.Name] || pod.DeletionTimestamp != nil {
		return errors.New("it is not gone")
	}
	if !isReady(pod) {
		return fmt.Errorf("it is not ready: %+v", pod.Status.ContainerStatuses)
	}
	if got := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(got, "@"+w.digest) {
		return fmt.Errorf("its imageID is %s, want %s", got, w.digest)
	}
	got, err := n.Get(ctx, "http://"+pod.Status.PodIP+":8080")
	if err == nil && got != w.code {
		err = fmt.Errorf("its code is %q, want %q", got, w.code)
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
