// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// space is a namespace of a test, with a repository of the same name.
type space struct {
	t    *testing.T
	name string
}

// newSpace creates a namespace in a mode, or one that is older than tagpin if mode is empty. It
// returns when a controller has created the service account that pods need.
func newSpace(t *testing.T, mode string) *space {
	t.Helper()
	labels := map[string]string{}
	if mode != "" {
		labels[cluster.ModeLabel] = mode
	}
	s := &space{t, clustertest.NewNamespace(t, env.Client, "c-", labels)}
	s.eventually("the default service account", func(ctx context.Context) error {
		_, err := env.Client.CoreV1().ServiceAccounts(s.name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return s
}

// enforce labels a namespace that is older than tagpin, and waits until tagpin serves it.
func (s *space) enforce() {
	s.t.Helper()
	s.kubectl("", "label", "namespace", s.name, cluster.ModeLabel+"=enforce")
	s.awaitMode(true)
}

// awaitMode waits until new pods are pinned, or are not.
func (s *space) awaitMode(pinned bool) {
	s.t.Helper()
	reference, _ := clustertest.Push(s.t, env.Open, s.name+"/probe:1")
	s.eventually("the mode to be in force", func(ctx context.Context) error {
		o, err := s.dryRun(ctx, reference)
		if err == nil && strings.Contains(o.Spec.Containers[0].Image, "@") != pinned {
			err = fmt.Errorf("a new pod has the image %s", o.Spec.Containers[0].Image)
		}
		return err
	})
}

// dryRun creates a pod of an image as a dry run.
func (s *space) dryRun(ctx context.Context, image string) (*corev1.Pod, error) {
	return clustertest.DryRun(ctx, env.Client, s.name, clustertest.Pod("probe", image))
}

// push pushes a new image as a tag of the namespace's repository. An existing tag is moved.
func (s *space) push(tag string) (reference, digest string) {
	s.t.Helper()
	return clustertest.Push(s.t, env.Open, s.name+"/app:"+tag)
}

// lookups returns the number of lookups in the repository.
func (s *space) lookups() int { return env.Open.Lookups(s.name + "/app") }

// kubectl runs kubectl in the namespace and returns its stdout.
func (s *space) kubectl(stdin string, args ...string) (stdout string) {
	s.t.Helper()
	return clustertest.Kubectl(s.t, env, stdin, append([]string{"-n", s.name}, args...)...)
}

func (s *space) apply(manifest string) {
	s.t.Helper()
	s.kubectl(manifest, "apply", "-f", "-")
}

// rolledOut waits until a workload's controller has finished a rollout.
func (s *space) rolledOut(workload string) {
	s.t.Helper()
	if _, _, err := env.RunKubectl(s.t.Context(), nil, "-n", s.name, "rollout", "status", workload, "--timeout="+poll.Deadline.String()); err != nil {
		s.t.Fatalf("%v\n%s", err, s.state())
	}
}

// state returns the objects and the events of the namespace, for somebody who looks for the cause
// of a failure.
func (s *space) state() string {
	var all strings.Builder
	for _, args := range [][]string{
		{"get", "deployments,replicasets,statefulsets,daemonsets,jobs"},
		{"get", "pods", "--field-selector=status.phase!=Running"},
		{"get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"},
	} {
		ctx := context.WithoutCancel(s.t.Context())
		args = append([]string{"-n", s.name}, args...)
		out, stderr, _ := env.RunKubectl(ctx, nil, args...) // stderr says what failed
		fmt.Fprintf(&all, "== kubectl %s\n%s%s\n", strings.Join(args, " "), out, stderr)
	}
	return all.String()
}

// restart restarts a workload, and returns kubectl's warnings. kubectl refuses a second restart
// within a second, because the two would have the same marker.
func (s *space) restart(workload string) (stderr string) {
	s.t.Helper()
	s.eventually("another second", func(ctx context.Context) (err error) {
		_, stderr, err = env.RunKubectl(ctx, nil, "-n", s.name, "rollout", "restart", workload)
		return err
	})
	return stderr
}

// eventually calls f until it succeeds.
func (s *space) eventually(what string, f func(context.Context) error) {
	s.t.Helper()
	poll.Until(s.t, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		return nil
	})
}

// pods returns the pods that are not being deleted, in the order of their names.
func (s *space) pods() []corev1.Pod {
	s.t.Helper()
	list, err := env.Client.CoreV1().Pods(s.name).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// images returns the distinct images of the pods' first containers.
func (s *space) images() []string {
	s.t.Helper()
	var images []string
	for _, p := range s.pods() {
		images = append(images, p.Spec.Containers[0].Image)
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// wantPods waits until there are n pods, and then compares their images.
func (s *space) wantPods(when string, n int, images ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d pods %s", n, when), func(context.Context) error {
		if got := len(s.pods()); got != n {
			return fmt.Errorf("there are %d pods", got)
		}
		return nil
	})
	slices.Sort(images)
	if got := s.images(); !slices.Equal(got, images) {
		s.t.Errorf("%s: the pods run %q, want %q", when, got, images)
	}
}

// deployment returns the Deployment web.
func (s *space) deployment() *appsv1.Deployment {
	s.t.Helper()
	d, err := env.Client.AppsV1().Deployments(s.name).Get(s.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *space) replicaSets() []appsv1.ReplicaSet {
	s.t.Helper()
	list, err := env.Client.AppsV1().ReplicaSets(s.name).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return list.Items
}

// wantStable makes the Deployment's controller look at it twice more, and then compares its image
// and the number of its ReplicaSets. There must be no collision of hashes, because that is how
// endless ReplicaSets begin.
func (s *space) wantStable(when, image string, replicaSets int) {
	s.t.Helper()
	for _, limit := range []string{"11", "12"} {
		s.kubectl("", "patch", "deployment", "web", "--type=merge", "-p", `{"spec":{"revisionHistoryLimit":`+limit+`}}`)
		s.eventually("the controller to observe", func(context.Context) error {
			if d := s.deployment(); d.Status.ObservedGeneration < d.Generation {
				return errors.New("it has not observed the last change")
			}
			return nil
		})
	}
	d := s.deployment()
	if got := d.Spec.Template.Spec.Containers[0].Image; got != image {
		s.t.Errorf("%s: image = %s, want %s", when, got, image)
	}
	if got := len(s.replicaSets()); got != replicaSets {
		s.t.Errorf("%s: %d ReplicaSets, want %d", when, got, replicaSets)
	}
	if got := d.Status.CollisionCount; got != nil && *got != 0 {
		s.t.Errorf("%s: collisionCount = %d, want 0", when, *got)
	}
}

// hasText returns an error if a text lacks want.
func hasText(text, want string) error {
	if !strings.Contains(text, want) {
		return fmt.Errorf("%q is not in %q", want, text)
	}
	return nil
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if err := hasText(got, want); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// manifest returns the manifest of a workload web of a kind, with an image and a number of
// replicas.
func manifest(kind, image string, replicas int) string {
	scale := fmt.Sprintf("replicas: %d", replicas)
	if kind == "DaemonSet" {
		scale = "minReadySeconds: 0"
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: %s
metadata: {name: web}
spec:
  %s
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: %s
`, kind, scale, image)
}
