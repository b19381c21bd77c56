// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/poll"
)

// job is a manifest. The verbs take the name, the beginning of the spec, and the image.
const job = `
apiVersion: batch/v1
kind: Job
metadata: {name: %s}
spec:
  %s
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: app
        image: %s
`

// cronJob is a manifest of a CronJob that is due every minute. The verb takes the image.
const cronJob = `
apiVersion: batch/v1
kind: CronJob
metadata: {name: web}
spec:
  schedule: "* * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - name: app
            image: %s
`

func (s *space) jobImage(name string) string {
	s.t.Helper()
	return s.kubectl("", "get", "job", name, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
}

// completed waits until a Job has completed.
func (s *space) completed(name string) {
	s.t.Helper()
	s.kubectl("", "wait", "job/"+name, "--for=condition=Complete", "--timeout="+poll.Deadline.String())
}

// TestSuspendedJob moves the tag of a suspended Job. The template of a Job can't be changed, so it
// must stay the same when the Job is resumed and applied again.
func TestSuspendedJob(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "enforce")
	reference, digest := s.push("1")
	s.apply(fmt.Sprintf(job, "web", "suspend: true", reference))
	s.push("1")
	asked := s.lookups()
	s.apply(fmt.Sprintf(job, "web", "suspend: true", reference))
	s.apply(fmt.Sprintf(job, "web", "suspend: false", reference))
	s.completed("web")
	s.apply(fmt.Sprintf(job, "web", "suspend: false", reference))
	if got, want := s.jobImage("web"), reference+"@"+digest; got != want {
		t.Errorf("image = %s, want %s", got, want)
	}
	s.wantPods("of the Job", 1, reference+"@"+digest)
	if got := s.lookups() - asked; got != 0 {
		t.Errorf("%d lookups, want none", got)
	}
}

// TestOldJob has a suspended Job that is older than tagpin. Its template stays unpinned, and its
// pods are pinned to one digest.
func TestOldJob(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "")
	reference, digest := s.push("1")
	const spec = "suspend: %t\n  completions: 3\n  parallelism: 1"
	s.apply(fmt.Sprintf(job, "web", fmt.Sprintf(spec, true), reference))
	s.enforce()
	s.apply(fmt.Sprintf(job, "web", fmt.Sprintf(spec, false), reference))
	s.completed("web")
	if got := s.jobImage("web"); got != reference {
		t.Errorf("image = %s, want the old one, %s", got, reference)
	}
	s.wantPods("of the Job", 3, reference+"@"+digest)
}

// TestCronJob moves the tag of an old CronJob and of a pinned one. The Jobs of the old CronJob are
// pinned to the current digest. Those of the other one have its digest.
func TestCronJob(t *testing.T) {
	t.Parallel()
	old, pinned := newSpace(t, ""), newSpace(t, "enforce")
	oldReference, _ := old.push("1")
	old.apply(strings.Replace(fmt.Sprintf(cronJob, oldReference), "schedule:", "suspend: true\n  schedule:", 1))
	old.enforce()
	_, oldMoved := old.push("1")
	reference, digest := pinned.push("1")
	pinned.apply(fmt.Sprintf(cronJob, reference))
	pinned.push("1")
	old.kubectl("", "patch", "cronjob", "web", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	for _, tt := range []struct {
		s           *space
		want, stays string
	}{
		{old, oldReference + "@" + oldMoved, oldReference},
		{pinned, reference + "@" + digest, reference + "@" + digest},
	} {
		name := ""
		tt.s.eventually("the controller to create a Job", func(ctx context.Context) error {
			jobs, err := env.Client.BatchV1().Jobs(tt.s.name).List(ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			if len(jobs.Items) == 0 {
				return errors.New("there is no Job")
			}
			name = jobs.Items[0].Name
			return nil
		})
		tt.s.completed(name)
		if got := tt.s.jobImage(name); got != tt.want {
			t.Errorf("image of the Job = %s, want %s", got, tt.want)
		}
		if got := tt.s.images(); len(got) != 1 || got[0] != tt.want {
			t.Errorf("images of its pods = %s, want %s", got, tt.want)
		}
		got := tt.s.kubectl("", "get", "cronjob", "web", "-o",
			"jsonpath={.spec.jobTemplate.spec.template.spec.containers[0].image}")
		if got != tt.stays {
			t.Errorf("image of the CronJob = %s, want %s", got, tt.stays)
		}
	}
}

// TestJobOfCronJobByHand runs kubectl create job --from, which sets the same owner as the
// controller.
func TestJobOfCronJobByHand(t *testing.T) {
	t.Parallel()
	s := newSpace(t, "")
	reference, digest := s.push("1")
	s.apply(strings.Replace(fmt.Sprintf(cronJob, reference), "* * * * *", "0 0 1 1 *", 1))
	s.enforce()
	s.kubectl("", "create", "job", "now", "--from=cronjob/web")
	s.completed("now")
	if got, want := s.jobImage("now"), reference+"@"+digest; got != want {
		t.Errorf("image = %s, want %s", got, want)
	}
}

// TestGone kills tagpin while the registration fails closed. What needs no pin still works: an old
// unpinned pod gets a label, its Job completes, and a pinned Deployment is scaled and replaces a
// pod.
func TestGone(t *testing.T) { // not parallel, because tagpin is down
	s := newSpace(t, "")
	reference, _ := s.push("1")
	two, second := s.push("2")
	waiting := "backoffLimit: 0"
	manifestOfJob := strings.Replace(fmt.Sprintf(job, "old", waiting, reference), "restartPolicy", "nodeSelector: {wanted: "+s.name+"}\n      restartPolicy", 1)
	s.apply(manifestOfJob)
	s.wantPods("of the Job", 1, reference)
	s.enforce()
	s.apply(manifest("Deployment", two, 1))
	s.rolledOut("deployment/web")
	if err := env.Tagpin.Kill(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := env.Tagpin.Start(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if _, _, err := env.RunKubectl(t.Context(), nil, "-n", s.name, "run", "new", "--image="+reference); err == nil {
		t.Error("a new unpinned pod is admitted, want tagpin to be down")
	}
	s.kubectl("", "label", "pod", "-l", "job-name=old", "new=label")
	s.kubectl("", "label", "node", "node-0", "wanted="+s.name)
	s.completed("old")
	s.kubectl("", "scale", "deployment", "web", "--replicas=3")
	s.rolledOut("deployment/web")
	s.kubectl("", "delete", "pod", s.podOf("web").Name)
	s.rolledOut("deployment/web")
	s.wantStable("without tagpin", two+"@"+second, 1)
	s.kubectl("", "delete", "job", "old", "--cascade=foreground")
	s.wantPods("without tagpin", 3, two+"@"+second)
}

// podOf returns a pod with the label app.
func (s *space) podOf(app string) *corev1.Pod {
	s.t.Helper()
	for _, p := range s.pods() {
		if p.Labels["app"] == app {
			return &p
		}
	}
	s.t.Fatalf("there is no pod of %s", app)
	return nil
}
