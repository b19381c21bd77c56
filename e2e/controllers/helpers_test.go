// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/poll"
)

// space is a namespace of a test, and a repository of the same name.
type space struct {
	t    *testing.T
	name string
}

// newSpace makes a namespace in a mode, which may be empty: from before tagpin. It returns when the controller has made the
// service account without which no pod is taken.
func newSpace(t *testing.T, mode string) *space {
	t.Helper()
	o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "c-"}}
	if mode != "" {
		o.Labels = map[string]string{cluster.ModeLabel: mode}
	}
	ns, err := env.Client.CoreV1().Namespaces().Create(t.Context(), o, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &space{t, ns.Name}
	s.eventually("the default service account", func(ctx context.Context) error {
		_, err := env.Client.CoreV1().ServiceAccounts(s.name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return s
}

// enforce labels a namespace that was there before tagpin, and waits until that is in force.
func (s *space) enforce() {
	s.t.Helper()
	s.kubectl("", "label", "namespace", s.name, cluster.ModeLabel+"=enforce")
	s.awaitMode(true)
}

// awaitMode waits until a new pod is pinned, or not.
func (s *space) awaitMode(pinned bool) {
	s.t.Helper()
	reference := env.Open.Host + "/" + s.name + "/probe:1"
	if _, err := env.Open.PushImage(s.name + "/probe:1"); err != nil {
		s.t.Fatal(err)
	}
	probe := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: reference}}},
	}
	s.eventually("the mode to be in force", func(ctx context.Context) error {
		o, err := env.Client.CoreV1().Pods(s.name).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil && strings.Contains(o.Spec.Containers[0].Image, "@") != pinned {
			err = fmt.Errorf("a new pod has the image %s", o.Spec.Containers[0].Image)
		}
		return err
	})
}

// push pushes a new image as a tag of the namespace's repository. Pushed again, the tag has moved.
func (s *space) push(tag string) (reference, digest string) {
	s.t.Helper()
	digest, err := env.Open.PushImage(s.name + "/app:" + tag)
	if err != nil {
		s.t.Fatal(err)
	}
	return env.Open.Host + "/" + s.name + "/app:" + tag, digest
}

// lookups is how often the registry was asked for the repository.
func (s *space) lookups() int { return env.Open.Lookups(s.name + "/app") }

// kubectl runs kubectl in the namespace; it has to succeed.
func (s *space) kubectl(stdin string, args ...string) (stdout string) {
	s.t.Helper()
	stdout, _, err := env.RunKubectl(s.t.Context(), strings.NewReader(stdin), append([]string{"-n", s.name}, args...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	return stdout
}

func (s *space) apply(manifest string) {
	s.t.Helper()
	s.kubectl(manifest, "apply", "-f", "-")
}

// rolledOut waits until a workload's controller has done what it was told.
func (s *space) rolledOut(workload string) {
	s.t.Helper()
	if _, _, err := env.RunKubectl(s.t.Context(), nil, "-n", s.name, "rollout", "status", workload, "--timeout="+poll.Deadline.String()); err != nil {
		s.t.Fatalf("%v\n%s", err, s.state())
	}
}

// state is what there is in the namespace, and what has happened, for who looks for the reason of something.
func (s *space) state() string {
	var all strings.Builder
	for _, args := range [][]string{
		{"get", "deployments,replicasets,statefulsets,daemonsets,jobs"},
		{"get", "pods", "--field-selector=status.phase!=Running"},
		{"get", "events", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"},
	} {
		out, stderr, _ := env.RunKubectl(context.WithoutCancel(s.t.Context()), nil, append([]string{"-n", s.name}, args...)...) // what it says is shown
		fmt.Fprintf(&all, "== kubectl %s\n%s%s\n", strings.Join(args, " "), out, stderr)
	}
	return all.String()
}

// restart restarts a workload. kubectl refuses to do it twice in a second, which its marker can't tell apart.
func (s *space) restart(workload string) {
	s.t.Helper()
	s.eventually("another second", func(ctx context.Context) error {
		_, _, err := env.RunKubectl(ctx, nil, "-n", s.name, "rollout", "restart", workload)
		return err
	})
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

// pods are those that are not being deleted, in the order of their names.
func (s *space) pods() []corev1.Pod {
	s.t.Helper()
	list, err := env.Client.CoreV1().Pods(s.name).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
}

// images are the distinct images of the pods' first containers.
func (s *space) images() []string {
	s.t.Helper()
	var images []string
	for _, p := range s.pods() {
		images = append(images, p.Spec.Containers[0].Image)
	}
	slices.Sort(images)
	return slices.Compact(images)
}

// wantPods waits until there are so many pods, and then compares their images.
func (s *space) wantPods(when string, n int, images ...string) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("%d pods %s", n, when), func(context.Context) error {
		if got := len(s.pods()); got != n {
			return fmt.Errorf("there are %d", got)
		}
		return nil
	})
	slices.Sort(images)
	if got := s.images(); !slices.Equal(got, images) {
		s.t.Errorf("%s: the pods run %q, want %q", when, got, images)
	}
}

// deployment is the Deployment web.
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

// wantStable has the Deployment's controller look at it twice more, and then compares its image and the number of its
// ReplicaSets. No hash may have collided, which is how ReplicaSets without end begin.
func (s *space) wantStable(when, image string, replicaSets int) {
	s.t.Helper()
	for _, limit := range []string{"11", "12"} {
		s.kubectl("", "patch", "deployment", "web", "--type=merge", "-p", `{"spec":{"revisionHistoryLimit":`+limit+`}}`)
		s.eventually("the controller to observe", func(context.Context) error {
			if d := s.deployment(); d.Status.ObservedGeneration < d.Generation {
				return errors.New("it has not")
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

func stdin(text string) io.Reader { return strings.NewReader(text) }

// hasText is an error where a text lacks a part.
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

// manifest is a workload named web, of a kind, with an image and some replicas.
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
