// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// prebuilt is a Workload for a Job that names it. Kueue compares the containers of the two, so this
// has the fields that the API server sets in a Job. The verbs take the name and the image.
const prebuilt = `
apiVersion: kueue.x-k8s.io/v1beta2
kind: Workload
metadata: {name: %[1]s}
spec:
  queueName: queue
  podSets:
  - name: main
    count: 2
    template:
      spec:
        restartPolicy: Never
        terminationGracePeriodSeconds: 0
        containers:
        - name: app
          image: "%[2]s"
          imagePullPolicy: IfNotPresent
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: File
          resources: {requests: {cpu: 1}}
`

// prebuilt creates a Workload and a Job that names it, both with an image. The Workload is created
// first, since Kueue would make one otherwise.
func (q *queue) prebuilt(name, image string) {
	q.t.Helper()
	q.Apply(fmt.Sprintf(prebuilt, name, image))
	q.Apply(fmt.Sprintf(job, name, image, "kueue.x-k8s.io/prebuilt-workload-name: "+name, 4, ""))
}

// TestPrebuilt has Workloads that a user has made.
func TestPrebuilt(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A user creates a Workload with a tag and a Job with the same tag that names it (`kueue.x-k8s.io/prebuilt-workload-name`): with a config of tagpin that does not name Workloads, and with one that does. A third pair has a digest.",
		Result:   "Without the kind, only the Job is pinned: Kueue says that the two are out of sync, and the Job stays suspended. With the kind, both get the digest, and the Job runs. The Job of the pair with a digest runs without the kind.",
		Settings: "`templates` has `{group: kueue.x-k8s.io, kind: Workload, paths: [\"spec.podSets[*].template\"]}`, or the manifests have digests.",
	})
	q := newQueue(t, 4)
	reference, digest := q.Push("1")
	q.prebuilt("digest", reference+"@"+digest)
	q.completed("digest", reference+"@"+digest)
	q.prebuilt("tag", reference)
	w := q.workload("tag", "Finished", metav1.ConditionTrue)
	if c := w.Status.Conditions; c[len(c)-1].Reason != "OutOfSync" {
		t.Errorf("the conditions are %+v, want OutOfSync", c)
	}
	if got := w.Spec.PodSets[0].Template.Spec.Containers[0].Image; got != reference {
		t.Errorf("the Workload has %s, want %s", got, reference)
	}
	q.wantTemplate("tag", reference+"@"+digest)
	if got := q.Kubectl("", "get", "job", "tag", "-o", "jsonpath={.spec.suspend}"); got != "true" {
		t.Errorf("suspend is %q, want true", got)
	}

	withWorkloads(t, q, reference)
	q.prebuilt("both", reference)
	q.completed("both", reference+"@"+digest)
	q.admitted("both", reference+"@"+digest)
}

// withWorkloads makes tagpin pin Workloads that no Job owns, until the test ends.
func withWorkloads(t *testing.T, q *queue, reference string) {
	t.Helper()
	change := func(ctx context.Context, f func(string) string) {
		err := env.Reconfigure(ctx, f)
		if err = errors.Join(err, env.Register(ctx)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() { change(context.WithoutCancel(t.Context()), nil) })
	change(t.Context(), func(config string) string {
		return config + "- {group: kueue.x-k8s.io, kind: Workload, paths: [\"spec.podSets[*].template\"]}\n"
	})
	q.Eventually("tagpin to pin Workloads", func(context.Context) error {
		got := q.Kubectl(fmt.Sprintf(prebuilt, "a", reference), "create", "--dry-run=server", "-f", "-",
			"-o", "jsonpath={.spec.podSets[0].template.spec.containers[0].image}")
		if got == reference {
			return errors.New("the Workload is not pinned")
		}
		return nil
	})
}
