// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// pod is a Pod in the queue. The verbs take its name, its image, more labels and annotations.
const pod = `
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s
  labels: {kueue.x-k8s.io/queue-name: queue, %[3]s}
  annotations: {%[4]s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: app, image: "%[2]s", resources: {requests: {cpu: 1}}}
`

// runs waits until a Pod runs, and compares its image.
func (q *queue) runs(name, image string) {
	q.t.Helper()
	q.Eventually("the pod "+name+" to run", func(ctx context.Context) error {
		p, err := env.Client.CoreV1().Pods(q.Name).Get(ctx, name, metav1.GetOptions{})
		if err == nil && p.Status.Phase != corev1.PodRunning {
			err = fmt.Errorf("it is %s, with the gates %v", p.Status.Phase, p.Spec.SchedulingGates)
		}
		if err == nil && p.Spec.Containers[0].Image != image {
			err = fmt.Errorf("it has %s, want %s", p.Spec.Containers[0].Image, image)
		}
		return err
	})
}

// TestPods moves the tag of pods while they wait.
func TestPods(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A LocalQueue has room for one pod without a controller. The first runs, and a second one waits while their tag moves. The first is deleted. A third one waits until the second is deleted.",
		Result: "Kueue holds pods by a scheduling gate and a finalizer, and removes both without a lookup of tagpin's. Each pod runs the digest of its creation.",
	})
	q := newQueue(t, 1)
	reference, first := q.Push("1")
	q.Apply(fmt.Sprintf(pod, "a", reference, "", ""))
	q.runs("a", reference+"@"+first)
	q.Apply(fmt.Sprintf(pod, "b", reference, "", ""))
	q.waits("b")
	_, second := q.Push("1")
	lookups := q.Lookups()
	q.Kubectl("", "delete", "pod", "a", "--wait")
	q.runs("b", reference+"@"+first)
	q.admitted("b", reference+"@"+first)
	if got := q.Lookups(); got != lookups {
		t.Errorf("%d lookups, want none", got-lookups)
	}
	q.Apply(fmt.Sprintf(pod, "c", reference, "", ""))
	q.waits("c")
	q.Kubectl("", "delete", "pod", "b", "--wait")
	q.runs("c", reference+"@"+second)
}

// TestPodGroup moves the tag of a group between its pods.
func TestPodGroup(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Two pods without a controller are a group (`kueue.x-k8s.io/pod-group-name`). Their tag moves after the first one was created.",
		Result:   "Kueue admits both as one Workload, although they run different digests: each that of its creation.",
		Settings: "Where all pods of a group must run one image, write the digest into the pods, or use a Job.",
	})
	q := newQueue(t, 2)
	reference, first := q.Push("1")
	const group, size = "kueue.x-k8s.io/pod-group-name: g", `kueue.x-k8s.io/pod-group-total-count: "2"`
	q.Apply(fmt.Sprintf(pod, "a", reference, group, size))
	_, second := q.Push("1")
	q.Apply(fmt.Sprintf(pod, "b", reference, group, size))
	q.runs("a", reference+"@"+first)
	q.runs("b", reference+"@"+second)
	if got := q.Kubectl("", "get", "workloads.kueue.x-k8s.io", "-o", "name"); got != "workload.kueue.x-k8s.io/g\n" {
		t.Errorf("the Workloads are %q, want one, g", got)
	}
}

// queuedDeployment returns the manifest of a Deployment in the queue.
func queuedDeployment(image string) string {
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {kueue.x-k8s.io/queue-name: queue}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: %q, resources: {requests: {cpu: 1}}}
`, image)
}

// TestDeployment moves the tag of a Deployment, applies it again, restarts it and undoes that.
func TestDeployment(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Deployment is in a LocalQueue. Its tag moves, its manifest is applied again, and its pods are deleted. It is restarted, and `kubectl rollout undo` undoes that.",
		Result: "Kueue adds labels to the template, and tagpin pins it. The apply changes nothing, and the new pods run the digest of the old ones. The restart brings the new digest, and the undo the first one.",
	})
	q := newQueue(t, 4)
	reference, first := q.Push("1")
	q.Apply(queuedDeployment(reference))
	q.RolledOut("deployment/web")
	q.wantDeployment("deployed", reference+"@"+first, 1, 1)
	_, second := q.Push("1")
	lookups := q.Lookups()
	q.Apply(queuedDeployment(reference))
	q.Kubectl("", "delete", "pods", "--all")
	q.RolledOut("deployment/web")
	q.wantDeployment("its pods are new", reference+"@"+first, 1, 1)
	if got := q.Lookups(); got != lookups {
		t.Errorf("%d lookups, want none", got-lookups)
	}
	q.Kubectl("", "rollout", "restart", "deployment/web")
	q.RolledOut("deployment/web")
	q.wantDeployment("restarted", reference+"@"+second, 2, 2)
	q.Kubectl("", "rollout", "undo", "deployment/web")
	q.RolledOut("deployment/web")
	q.wantDeployment("undone", reference+"@"+first, 3, 2)
}

// wantDeployment is WantDeployment, and also waits until exactly two pods run, with the same image,
// which Kueue has admitted.
func (q *queue) wantDeployment(when, image string, generation int64, replicaSets int) {
	q.t.Helper()
	q.WantDeployment(when, image, generation, replicaSets)
	q.Eventually("two pods with "+image, func(ctx context.Context) error {
		images, err := q.Images(ctx, metav1.ListOptions{
			FieldSelector: "status.phase=Running",
			LabelSelector: "app=web,kueue.x-k8s.io/managed=true",
		})
		if err == nil && len(images) != 2 {
			err = errors.New("wrong number of pods")
		}
		for _, got := range images {
			if got != image {
				err = errors.Join(err, fmt.Errorf("a pod has %s", got))
			}
		}
		return err
	})
}
