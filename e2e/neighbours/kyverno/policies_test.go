// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// policy is a policy with one rule for the pods of a namespace. The verbs take the namespace, which
// is also the policy's name, the kinds of controllers whose templates Kyverno treats like pods, or
// none, and what the rule does.
const policy = `
apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata:
  name: %[1]s
  annotations: {pod-policies.kyverno.io/autogen-controllers: "%[2]s"}
spec:
  background: false
  rules:
  - name: rule
    match: {any: [{resources: {kinds: [Pod], namespaces: [%[1]s]}}]}
    %[3]s
`

// all are the controllers that Kyverno treats like pods by default.
const all = "DaemonSet,Deployment,Job,ReplicaSet,ReplicationController,StatefulSet,CronJob"

// What rules do.
const (
	requireDigest = `validate: {failureAction: Enforce, message: an image has no digest, ` +
		`pattern: {spec: {containers: [{image: "*@*"}]}}}`
	mutateDigest = `verifyImages: [{imageReferences: ["*"], failureAction: Enforce, ` +
		`mutateDigest: true, verifyDigest: true, required: false}]`
	verifyDigest = `verifyImages: [{imageReferences: ["*"], failureAction: Enforce, ` +
		`mutateDigest: false, verifyDigest: true, required: false}]`
)

// deploymentManifest is a Deployment. The verb takes its image.
func deploymentManifest(image string) string { return neighbours.DeploymentManifest(image, "") }

// space is a namespace with a policy.
type space struct {
	*neighbours.Space
	t *testing.T
}

// newSpace creates a namespace.
func newSpace(t *testing.T) *space {
	t.Helper()
	return &space{env.NewSpace(t), t}
}

// policy creates a ClusterPolicy for the namespace.
func (s *space) policy(controllers, rule string) {
	s.t.Helper()
	s.create(fmt.Sprintf(policy, s.Name, controllers, rule), "clusterpolicy/"+s.Name)
}

// create creates a policy, which is deleted when the test ends.
func (s *space) create(manifest, name string) {
	s.t.Helper()
	s.Kubectl(manifest, "create", "-f", "-")
	s.t.Cleanup(func() {
		ctx := context.WithoutCancel(s.t.Context())
		if _, _, err := env.RunKubectl(ctx, nil, "delete", "--ignore-not-found", name); err != nil {
			s.t.Error(err)
		}
	})
}

// unpinned creates a pod that tagpin leaves alone, as a dry run, and returns its image.
func (s *space) unpinned(image string) (stored string, err error) {
	s.t.Helper()
	pod := clustertest.Pod("unpinned", image)
	pod.Spec.Containers[0].ImagePullPolicy = "Never"
	got, err := clustertest.DryRun(s.t.Context(), env.Client, s.Name, pod)
	if err != nil {
		return "", err
	}
	return got.Spec.Containers[0].Image, nil
}

// denies waits until Kyverno refuses a pod with a tag that tagpin leaves alone.
func (s *space) denies(image string) {
	s.t.Helper()
	s.Eventually("a denial by Kyverno", func(context.Context) error {
		if _, err := s.unpinned(image); !denied(err) {
			return errors.Join(errors.New("Kyverno does not deny the pod"), err)
		}
		return nil
	})
}

// mutates waits until Kyverno changes the image of a pod that tagpin leaves alone.
func (s *space) mutates(image, want string) {
	s.t.Helper()
	s.Eventually("a change by Kyverno", func(context.Context) error {
		got, err := s.unpinned(image)
		if err == nil && got != want {
			err = fmt.Errorf("the image is %s, want %s", got, want)
		}
		return err
	})
}

// denied reports whether Kyverno has denied a request.
func denied(err error) bool {
	return err != nil && strings.Contains(err.Error(), "kyverno.svc") &&
		strings.Contains(err.Error(), "denied the request")
}

// mode sets the mode of the namespace, and waits until tagpin pins or does not.
func (s *space) mode(mode string, pins bool) {
	s.t.Helper()
	reference, _ := s.Push("mode")
	s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"="+mode)
	s.Eventually("the mode "+mode, func(ctx context.Context) error {
		got, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", reference))
		if err == nil && strings.Contains(got.Spec.Containers[0].Image, "@") != pins {
			err = fmt.Errorf("the image is %s", got.Spec.Containers[0].Image)
		}
		return err
	})
}

// wantPods waits until exactly two pods of the Deployment run, both with an image.
func (s *space) wantPods(image string) {
	s.t.Helper()
	s.Eventually("two pods with "+image, func(ctx context.Context) error {
		images, err := s.Images(ctx,
			metav1.ListOptions{LabelSelector: "app=web", FieldSelector: "status.phase=Running"})
		if err == nil && !slices.Equal(images, []string{image, image}) {
			err = fmt.Errorf("the images are %v", images)
		}
		return err
	})
}

// wantDeployed compares the Deployment and its pods.
func (s *space) wantDeployed(when, image string, generation int64, replicaSets int) {
	s.t.Helper()
	s.wantPods(image)
	s.WantDeployment(when, image, generation, replicaSets)
}

// pins returns the annotation of the Deployment's template that names the pins of tagpin.
func (s *space) pins() string {
	s.t.Helper()
	return s.Deployment().Spec.Template.Annotations["tagpin.dev/pins"]
}
