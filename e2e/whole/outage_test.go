// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/node"
	"github.com/tagpin/tagpin/e2e/poll"
)

// TestRegistryDown restarts all pods of the node while the registry is down: pinned ones whose
// images the node has, and tagpin's own.
func TestRegistryDown(t *testing.T) {
	n := theNode(t)
	ns := newNamespace(t, n, "enforce")
	reference, digest := push(t, n, "web", "one")
	apply(t, n, ns, "web", reference, 3)
	w := want{ns: ns, app: "web", replicas: 3, digest: digest, code: "one"}
	pods, _ := w.runs(t, n)
	n.Registry.SetDown(true)
	t.Cleanup(func() { n.Registry.SetDown(false) })
	clustertest.Kubectl(t, n, "", "--namespace="+ns, "delete", "pods", "--all", "--wait=false")
	clustertest.Kubectl(t, n, "", "--namespace="+node.TagpinNamespace, "delete", "pods", "--all", "--wait=false")
	w.gone = names(pods)
	_, took := w.runs(t, n)
	t.Logf("3 pinned pods that restarted without a registry are ready after %v", took)
	tagpinReady(t, n, 2)
}

// TestTagpinDown stops tagpin while the registration fails closed. Only unpinned pods have to wait.
func TestTagpinDown(t *testing.T) {
	n := theNode(t)
	ns := newNamespace(t, n, "enforce")
	reference, digest := push(t, n, "web", "one")
	apply(t, n, ns, "web", reference, 2)
	w := want{ns: ns, app: "web", replicas: 2, digest: digest, code: "one"}
	pods, _ := w.runs(t, n)

	scaleTagpin(t, n, 0)
	defer scaleTagpin(t, n, 2)
	_, err := n.Client.CoreV1().Pods(ns).Create(t.Context(), clustertest.Pod("new", reference), metav1.CreateOptions{})
	if err == nil || !strings.Contains(err.Error(), `failed calling webhook "enforce.tagpin.dev"`) {
		t.Errorf("creating an unpinned pod: %v, want it to fail", err)
	}
	clustertest.Kubectl(t, n, "", "--namespace="+ns, "delete", "pods", "--all", "--wait=false")
	w.gone = names(pods)
	w.runs(t, n)

	const system = "kube-system"
	apply(t, n, system, "addon", reference, 1)
	t.Cleanup(func() {
		_, _, err := n.RunKubectl(context.WithoutCancel(t.Context()), nil, "--namespace="+system, "delete", "deployment,service", "addon")
		if err != nil {
			t.Error(err)
		}
	})
	_, took := want{ns: system, app: "addon", replicas: 1, digest: digest, code: "one"}.runs(t, n)
	t.Logf("without tagpin a pod in kube-system is ready after %v", took)

	scaleTagpin(t, n, 2)
	poll.Until(t, func(ctx context.Context) error {
		_, err := n.Client.CoreV1().Pods(ns).Create(ctx, clustertest.Pod("new", reference), metav1.CreateOptions{})
		return err
	})
	want{ns: ns, app: "new", replicas: 1, digest: digest, code: "one"}.runs(t, n)
}

func names(pods []corev1.Pod) map[string]bool {
	all := map[string]bool{}
	for _, p := range pods {
		all[p.Name] = true
	}
	return all
}

// scaleTagpin sets the number of tagpin's replicas, and returns when all are ready.
func scaleTagpin(t *testing.T, n *node.Node, replicas int) {
	t.Helper()
	_, _, err := n.RunKubectl(context.WithoutCancel(t.Context()), nil,
		"--namespace="+node.TagpinNamespace, "scale", "deployment/tagpin-webhook", "--replicas="+strconv.Itoa(replicas))
	if err != nil {
		t.Fatal(err)
	}
	tagpinReady(t, n, replicas)
}

// tagpinReady waits until the given number of replicas are ready and no other one exists.
func tagpinReady(t *testing.T, n *node.Node, replicas int) {
	t.Helper()
	poll.Until(t, func(ctx context.Context) error {
		list, err := n.Client.CoreV1().Pods(node.TagpinNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if p := &list.Items[i]; !isReady(p) || p.DeletionTimestamp != nil {
				return fmt.Errorf("%s is not ready, or is still ending", p.Name)
			}
		}
		if got := len(list.Items); got != replicas {
			return fmt.Errorf("tagpin has %d pods, want %d", got, replicas)
		}
		return nil
	})
}
