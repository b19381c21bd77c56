// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
	"github.com/tagpin/tagpin/e2e/poll"
)

// queues has the LocalQueue queue of a namespace. The verbs take the namespace and the number of
// pods that may run.
const queues = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: %[1]s}
spec:
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[1]s}}
  preemption: {withinClusterQueue: LowerPriority}
  resourceGroups:
  - coveredResources: [cpu]
    flavors:
    - name: default
      resources: [{name: cpu, nominalQuota: %[2]d}]
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: LocalQueue
metadata: {name: queue}
spec: {clusterQueue: %[1]s}
`

// job is a Job in the queue, which runs two pods at a time. The verbs take the name, the image,
// more labels, the number of pods and a node selector.
const job = `
apiVersion: batch/v1
kind: Job
metadata:
  name: %[1]s
  labels: {kueue.x-k8s.io/queue-name: queue, %[3]s}
spec:
  parallelism: 2
  completions: %[4]d
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
      nodeSelector: {%[5]s}
      containers:
      - {name: app, image: "%[2]s", resources: {requests: {cpu: 1}}}
`

// held is a label that no node has at first.
const held = "e2e.tagpin.dev/held"

// queue is a namespace with a LocalQueue.
type queue struct {
	*neighbours.Space
	t *testing.T
}

// newQueue creates a namespace with a queue that has room for a number of pods.
func newQueue(t *testing.T, room int) *queue {
	t.Helper()
	q := &queue{env.NewSpace(t), t}
	q.Apply(fmt.Sprintf(queues, q.Name, room))
	return q
}

// mode sets the mode of the namespace, and waits until tagpin pins pods or does not.
func (q *queue) mode(mode string, pins bool) {
	q.t.Helper()
	reference, _ := q.Push("mode")
	q.Kubectl("", "label", "--overwrite", "namespace", q.Name, cluster.ModeLabel+"="+mode)
	q.Eventually("the mode "+mode, func(ctx context.Context) error {
		got, err := clustertest.DryRun(ctx, env.Client, q.Name, clustertest.Pod("a", reference))
		if err == nil && (got.Spec.Containers[0].Image != reference) != pins {
			err = fmt.Errorf("the image is %s", got.Spec.Containers[0].Image)
		}
		return err
	})
}

// selector selects nodes that have not been released.
func (q *queue) selector() string { return held + ": " + q.Name }

// job applies a Job with four pods, which can't be scheduled before the call of release.
func (q *queue) job(name, image string) {
	q.t.Helper()
	q.Apply(fmt.Sprintf(job, name, image, "", 4, q.selector()))
}

// release lets the pods be scheduled. Pods of Jobs complete then.
func (q *queue) release() {
	q.t.Helper()
	q.Kubectl("", "label", "--overwrite", "nodes", "--all", held+"="+q.Name)
}

// workload is a part of what Kueue has made for a Job or a pod.
type workload struct {
	Metadata metav1.ObjectMeta
	Spec     struct {
		PodSets []struct {
			Template struct {
				Spec struct{ Containers []struct{ Image string } }
			}
		}
	}
	Status struct{ Conditions []metav1.Condition }
}

// is reports whether a condition has a status.
func (w *workload) is(condition string, status metav1.ConditionStatus) bool {
	return slices.ContainsFunc(w.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == condition && c.Status == status
	})
}

// workload waits until the Workload of a Job or a pod has a condition, and returns it.
func (q *queue) workload(owner, condition string, status metav1.ConditionStatus) (found workload) {
	q.t.Helper()
	q.Eventually(owner+" to be "+condition, func(context.Context) error {
		var all struct{ Items []workload }
		text := q.Kubectl("", "get", "workloads.kueue.x-k8s.io", "-o", "json")
		if err := json.Unmarshal([]byte(text), &all); err != nil {
			return err
		}
		for _, w := range all.Items {
			if len(w.Metadata.OwnerReferences) == 1 && w.Metadata.OwnerReferences[0].Name == owner {
				if found = w; w.is(condition, status) {
					return nil
				}
			}
		}
		return fmt.Errorf("its Workload is %+v", found)
	})
	return found
}

// waits waits until Kueue has found no room for a Job or a pod.
func (q *queue) waits(name string) {
	q.t.Helper()
	q.workload(name, "QuotaReserved", metav1.ConditionFalse)
}

// admitted waits until Kueue has admitted a Job or a pod, compares the image of the Workload, and
// returns it.
func (q *queue) admitted(name, image string) workload {
	q.t.Helper()
	w := q.workload(name, "Admitted", metav1.ConditionTrue)
	for _, set := range w.Spec.PodSets {
		if got := set.Template.Spec.Containers[0].Image; got != image {
			q.t.Errorf("the Workload of %s has %s, want %s", name, got, image)
		}
	}
	return w
}

// template returns the image of a Job, and its UID.
func (q *queue) template(name string) (image string, uid types.UID) {
	q.t.Helper()
	j, err := env.Client.BatchV1().Jobs(q.Name).Get(q.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		q.t.Fatal(err)
	}
	return j.Spec.Template.Spec.Containers[0].Image, j.UID
}

// wantTemplate compares the image of a Job.
func (q *queue) wantTemplate(name, image string) {
	q.t.Helper()
	if got, _ := q.template(name); got != image {
		q.t.Errorf("the Job %s has %s, want %s", name, got, image)
	}
}

// completed waits until a Job has completed, and checks that all of its pods had an image.
func (q *queue) completed(name, image string) {
	q.t.Helper()
	q.Kubectl("", "wait", "job/"+name, "--for=condition=Complete", "--timeout="+poll.Deadline.String())
	q.wantPods(name, 4, image)
}

// wantPods waits until a Job has exactly that number of pods, all with an image. Pods that are
// being deleted don't count.
func (q *queue) wantPods(name string, count int, image string) {
	q.t.Helper()
	q.Eventually(fmt.Sprint(count, " pods of ", name), func(ctx context.Context) error {
		images, err := q.Images(ctx, metav1.ListOptions{LabelSelector: "job-name=" + name})
		if err == nil && len(images) != count {
			err = errors.New("wrong number of pods")
		}
		for _, got := range images {
			if got != image {
				err = errors.Join(err, fmt.Errorf("a pod has %s, want %s", got, image))
			}
		}
		return err
	})
}
