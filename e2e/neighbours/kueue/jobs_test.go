// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestJobs moves the tag of Jobs while they wait.
func TestJobs(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A LocalQueue has room for one of three Jobs. The first starts, and the second waits. Their tag moves, and a third Job gets it. The manifest of each is applied again, and Kueue's manager is restarted. Then the Jobs run one after another.",
		Result: "tagpin pins each Job when it is created, and Kueue's Workload has that digest too. All pods of the first two Jobs run the first digest, also those that are created after the tag has moved, and those of the third the second one. Neither an apply nor a start of Kueue changes an image or asks a registry.",
	})
	q := newQueue(t, 2)
	reference, first := q.Push("1")
	q.job("a", reference)
	q.admitted("a", reference+"@"+first)
	q.job("b", reference)
	q.waits("b")
	_, second := q.Push("1")
	q.job("c", reference)
	q.waits("c")
	lookups := q.Lookups()
	if err := errors.Join(kueue.process.Kill(), kueue.start(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		q.job(name, reference)
	}
	q.wantTemplate("b", reference+"@"+first)
	q.release()
	q.completed("a", reference+"@"+first)
	q.completed("b", reference+"@"+first)
	q.admitted("b", reference+"@"+first)
	q.completed("c", reference+"@"+second)
	q.admitted("c", reference+"@"+second)
	if got := q.Lookups(); got != lookups {
		t.Errorf("%d lookups after the Jobs were created, want none", got-lookups)
	}
}

// TestPreemption stops a Job for another one after its tag has moved.
func TestPreemption(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Job with two pods is admitted, and its tag moves. A Job with a higher priority and the same tag takes its place. When that one is complete, the first Job is admitted again.",
		Result: "Kueue suspends the first Job and starts it again, and its new pods run its old digest. The other Job runs the new one. The first Job keeps its Workload, and no registry is asked for it again.",
	})
	q := newQueue(t, 2)
	q.Apply(fmt.Sprintf("{apiVersion: kueue.x-k8s.io/v1beta2, kind: WorkloadPriorityClass, "+
		"metadata: {name: %s}, value: 100}", q.Name))
	reference, first := q.Push("1")
	q.job("a", reference)
	before := q.admitted("a", reference+"@"+first)
	q.wantPods("a", 2, reference+"@"+first)
	_, second := q.Push("1")
	high := "kueue.x-k8s.io/priority-class: " + q.Name
	q.Apply(fmt.Sprintf(job, "b", reference, high, 4, ""))
	lookups := q.Lookups()
	q.completed("b", reference+"@"+second)
	q.workload("a", "Requeued", metav1.ConditionTrue)
	after := q.admitted("a", reference+"@"+first)
	if after.Metadata.UID != before.Metadata.UID {
		t.Error("the Job has another Workload")
	}
	q.release()
	q.completed("a", reference+"@"+first)
	q.wantTemplate("a", reference+"@"+first)
	if got := q.Lookups(); got != lookups {
		t.Errorf("%d lookups after the Jobs were created, want none", got-lookups)
	}
}

// TestOldJob admits a Job that is older than tagpin.
func TestOldJob(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Job waits since before tagpin was switched on in its namespace. Its tag moves, and it is admitted.",
		Result: "Kueue's changes of the Job don't pin its template, so that Kueue keeps its Workload. All of its pods run the digest that the tag names when the first one is created.",
	})
	q := newQueue(t, 2)
	q.mode("off", false)
	reference, _ := q.Push("1")
	q.job("a", reference)
	q.admitted("a", reference)
	q.job("b", reference)
	q.waits("b")
	q.mode("enforce", true)
	_, second := q.Push("1")
	q.Kubectl("", "delete", "job", "a", "--wait")
	before := q.admitted("b", reference)
	q.wantPods("b", 2, reference+"@"+second)
	q.Push("1")
	q.release()
	q.completed("b", reference+"@"+second)
	q.wantTemplate("b", reference)
	if after := q.admitted("b", reference); after.Metadata.UID != before.Metadata.UID {
		t.Error("the Job has another Workload")
	}
}

// TestOutage creates a Job while its registry is down.
func TestOutage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Job is created while its registry is down. Kueue admits it. The registry comes back.",
		Result: "The Job and its Workload have the tag. tagpin denies the pods until the registry is back. Then all of them run one digest, and Kueue keeps the Workload.",
	})
	q := newQueue(t, 2)
	reference, digest := clustertest.Push(t, env.Spare, q.Name+"/app:1")
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	q.job("a", reference)
	before := q.admitted("a", reference)
	q.Eventually("a denial of pods", func(ctx context.Context) error {
		events, err := env.Client.CoreV1().Events(q.Name).List(ctx,
			metav1.ListOptions{FieldSelector: "reason=FailedCreate,involvedObject.name=a"})
		if err == nil && len(events.Items) == 0 {
			err = errors.New("the Job's controller reports none")
		}
		return err
	})
	q.wantPods("a", 0, "")
	env.Spare.SetDown(false)
	q.wantPods("a", 2, reference+"@"+digest)
	q.release()
	q.completed("a", reference+"@"+digest)
	q.wantTemplate("a", reference)
	if after := q.admitted("a", reference); after.Metadata.UID != before.Metadata.UID {
		t.Error("the Job has another Workload")
	}
}
