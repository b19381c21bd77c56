// SPDX-License-Identifier: Apache-2.0

package kueue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestRemovalOfTagpin removes tagpin while a Job waits, after the mode keep.
func TestRemovalOfTagpin(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A Job waits. The namespace gets the mode `keep`, and the Job's manifest is applied again. Then tagpin's registration is deleted, and the manifest is applied once more. The Job is admitted.",
		Result:   "In `keep` the apply leaves the digest. Without tagpin the API server refuses it, since a Job's image can't change. The Job runs its digest.",
		Settings: "Jobs that are applied again need a digest in the manifest before tagpin is removed, or must be deleted first.",
	})
	q := newQueue(t, 2)
	reference, digest := q.Push("1")
	q.job("a", reference)
	q.admitted("a", reference+"@"+digest)
	q.job("b", reference)
	q.waits("b")
	q.Push("1")
	q.mode("keep", false)
	q.job("b", reference)
	q.wantTemplate("b", reference+"@"+digest)

	q.Kubectl("", "delete", "mutatingwebhookconfiguration", cluster.ConfigurationName)
	t.Cleanup(func() {
		if err := env.Register(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	again := fmt.Sprintf(job, "b", reference, "", 4, q.selector())
	q.Eventually("the API server to refuse the Job", func(ctx context.Context) error {
		_, _, err := env.RunKubectl(ctx, strings.NewReader(again), "-n", q.Name, "apply", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), "is invalid: spec.template") {
			return errors.Join(errors.New("it does not refuse it"), err)
		}
		return nil
	})
	q.release()
	q.completed("b", reference+"@"+digest)
}

// TestRemovalOfKueue removes Kueue while a Job waits.
func TestRemovalOfKueue(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A Job waits, and its tag moves. Kueue's registrations and its manager are removed. Somebody resumes the Job with `kubectl patch`, and another Job is created.",
		Result: "The first Job runs its digest. The other one runs without waiting, and is pinned to the new digest.",
	})
	q := newQueue(t, 0)
	reference, first := q.Push("1")
	q.job("a", reference)
	q.waits("a")
	_, second := q.Push("1")
	if err := kueue.process.Kill(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		err := errors.Join(env.ApplyObjects(ctx, kueue.webhooks), kueue.start(ctx))
		if err != nil {
			t.Error(err)
		}
	})
	q.Kubectl("", "delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations",
		"-l", "app.kubernetes.io/name=kueue")
	q.release()
	q.Eventually("the API server to stop calling Kueue", func(ctx context.Context) error {
		_, err := env.Client.BatchV1().Jobs(q.Name).Patch(ctx, "a", "application/merge-patch+json",
			[]byte(`{"spec":{"suspend":false}}`), metav1.PatchOptions{})
		return err
	})
	q.completed("a", reference+"@"+first)
	q.job("b", reference)
	q.completed("b", reference+"@"+second)
}
