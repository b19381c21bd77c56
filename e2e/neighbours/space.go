// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"context"
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/poll"
)

// Space is a namespace of a test in the mode enforce, with a repository of the same name. Its
// methods fail the test if anything goes wrong, unless they return an error.
type Space struct {
	Name string

	t   *testing.T
	env *Env
}

// NewSpace creates a namespace. It returns when a controller has created the service account that
// pods need.
func (e *Env) NewSpace(t *testing.T) *Space {
	t.Helper()
	labels := map[string]string{cluster.ModeLabel: "enforce"}
	s := &Space{clustertest.NewNamespace(t, e.Client, "n-", labels), t, e}
	s.Eventually("the default service account", func(ctx context.Context) error {
		_, err := e.Client.CoreV1().ServiceAccounts(s.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return s
}

// Push pushes a new image as a tag of the namespace's repository. An existing tag is moved.
func (s *Space) Push(tag string) (reference, digest string) {
	s.t.Helper()
	return clustertest.Push(s.t, s.env.Open, s.Name+"/app:"+tag)
}

// Lookups returns the number of lookups in the repository.
func (s *Space) Lookups() int { return s.env.Open.Lookups(s.Name + "/app") }

// Kubectl runs kubectl in the namespace and returns its stdout.
func (s *Space) Kubectl(stdin string, args ...string) (stdout string) {
	s.t.Helper()
	return clustertest.Kubectl(s.t, s.env, stdin, append([]string{"-n", s.Name}, args...)...)
}

// Apply applies a manifest with kubectl.
func (s *Space) Apply(manifest string) {
	s.t.Helper()
	s.Kubectl(manifest, "apply", "-f", "-")
}

// RolledOut waits until a workload's controller has finished a rollout.
func (s *Space) RolledOut(workload string) {
	s.t.Helper()
	s.Kubectl("", "rollout", "status", workload, "--timeout="+poll.Deadline.String())
}

// Eventually calls f until it succeeds.
func (s *Space) Eventually(what string, f func(context.Context) error) {
	s.t.Helper()
	poll.Until(s.t, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		return nil
	})
}

// DeploymentManifest returns the manifest of a Deployment web with an image, and with annotations
// of its template, such as "a: b, c: d". Without annotations, the template does not have the field:
// a client that compares by itself may take an empty map for the removal of all annotations.
func DeploymentManifest(image, annotations string) string {
	if annotations != "" {
		annotations = ", annotations: {" + annotations + "}"
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}%s}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: %q}
`, annotations, image)
}

// Deployment returns the Deployment web.
func (s *Space) Deployment() *appsv1.Deployment {
	s.t.Helper()
	d, err := s.env.Client.AppsV1().Deployments(s.Name).Get(s.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// WantDeployment compares the image of the Deployment web, its generation, and the number of its
// ReplicaSets. It waits until the Deployment's controller has observed the generation.
func (s *Space) WantDeployment(when, image string, generation int64, replicaSets int) {
	s.t.Helper()
	s.Eventually("the Deployment's controller", func(context.Context) error {
		if d := s.Deployment(); d.Status.ObservedGeneration < d.Generation {
			return errors.New("it has not observed the last change")
		}
		return nil
	})
	d := s.Deployment()
	if got := d.Spec.Template.Spec.Containers[0].Image; got != image {
		s.t.Errorf("%s: image = %s, want %s", when, got, image)
	}
	if d.Generation != generation {
		s.t.Errorf("%s: generation = %d, want %d", when, d.Generation, generation)
	}
	list, err := s.env.Client.AppsV1().ReplicaSets(s.Name).List(s.t.Context(), metav1.ListOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if got := len(list.Items); got != replicaSets {
		s.t.Errorf("%s: %d ReplicaSets, want %d", when, got, replicaSets)
	}
	if got := d.Status.CollisionCount; got != nil && *got != 0 {
		s.t.Errorf("%s: collisionCount = %d, want 0", when, *got)
	}
}

// Images returns the images of the pods that options select, without those that are being deleted.
// Each of these pods has one container.
func (s *Space) Images(ctx context.Context, options metav1.ListOptions) ([]string, error) {
	list, err := s.env.Client.CoreV1().Pods(s.Name).List(ctx, options)
	if err != nil {
		return nil, err
	}
	var images []string
	for i := range list.Items {
		if p := &list.Items[i]; p.DeletionTimestamp == nil {
			images = append(images, p.Spec.Containers[0].Image)
		}
	}
	return images, nil
}
