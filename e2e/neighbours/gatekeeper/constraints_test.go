// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// template requires a digest of each container of a Pod, whatever the operation is, as the template
// of this name in Gatekeeper's library does. That library is no Go module.
const template = `
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata: {name: k8simagedigests}
spec:
  crd:
    spec: {names: {kind: K8sImageDigests}}
  targets:
  - target: admission.k8s.gatekeeper.sh
    code:
    - engine: Rego
      source:
        version: v1
        rego: |
          package k8simagedigests

          lists := ["containers", "initContainers", "ephemeralContainers"]

          violation contains {"msg": msg} if {
            some list in lists
            some c in input.review.object.spec[list]
            not regex.match("@[a-z0-9]+:[a-f0-9]+$", c.image)
            msg := sprintf("%s has no digest: %s", [c.name, c.image])
          }
`

// constraint is a constraint on Pods in a namespace, which is also its name.
const constraint = `
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sImageDigests
metadata: {name: %[1]s}
spec:
  enforcementAction: deny
  match:
    namespaces: [%[1]s]
    kinds: [{apiGroups: [""], kinds: [Pod]}]
`

// deployment is a Deployment. The verbs take its name and its image.
const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: app, image: "%[2]s"}
`

// ownPolicy returns the template and the constraint that tagpin ships.
func ownPolicy() (ownTemplate, ownConstraint string, err error) {
	text, err := os.ReadFile("../../../deploy/policies/gatekeeper.yaml")
	if err != nil {
		return "", "", err
	}
	ownTemplate, ownConstraint, found := strings.Cut(string(text), "\n---\n")
	if !found {
		return "", "", errors.New("gatekeeper.yaml has no constraint")
	}
	return ownTemplate, ownConstraint, nil
}

// newSpace creates a namespace in a mode of tagpin.
func newSpace(t *testing.T, mode string) *neighbours.Space {
	t.Helper()
	s := env.NewSpace(t)
	if mode != "enforce" {
		reference, _ := s.Push("mode")
		s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"="+mode)
		s.Eventually("the mode "+mode, func(ctx context.Context) error {
			got, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", reference))
			if err == nil && got.Spec.Containers[0].Image != reference {
				err = errors.New("the pod is pinned")
			}
			return err
		})
	}
	return s
}

// requireDigests creates the constraint for a namespace and waits until it is in force.
func requireDigests(t *testing.T, s *neighbours.Space) {
	t.Helper()
	s.Apply(fmt.Sprintf(constraint, s.Name))
	inForce(t, s, "k8simagedigests/"+s.Name)
}

// inForce waits until Gatekeeper's webhooks have read a constraint, a mutator or another object.
func inForce(t *testing.T, s *neighbours.Space, name string) {
	t.Helper()
	s.Eventually("Gatekeeper to read "+name, func(context.Context) error {
		var o struct {
			Metadata struct{ Generation int64 }
			Status   struct {
				ByPod []struct {
					ID                 string
					ObservedGeneration int64
				}
			}
		}
		if err := json.Unmarshal([]byte(s.Kubectl("", "get", name, "-o", "json")), &o); err != nil {
			return err
		}
		for _, p := range o.Status.ByPod {
			if p.ID == webhookPod && p.ObservedGeneration == o.Metadata.Generation {
				return nil
			}
		}
		return fmt.Errorf("its status is %+v", o.Status)
	})
}

// create creates a pod and returns the image that was stored.
func create(t *testing.T, s *neighbours.Space, name, image string) (string, error) {
	t.Helper()
	pod, err := env.Client.CoreV1().Pods(s.Name).Create(
		t.Context(), clustertest.Pod(name, image), metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	return pod.Spec.Containers[0].Image, nil
}

// wantPods waits until exactly two pods of a Deployment run, both with an image.
func wantPods(t *testing.T, s *neighbours.Space, app, image string) {
	t.Helper()
	s.Eventually("two pods with "+image, func(ctx context.Context) error {
		images, err := running(ctx, s, app)
		if err == nil && !slices.Equal(images, []string{image, image}) {
			err = fmt.Errorf("the images are %v", images)
		}
		return err
	})
}

// running returns the images of a Deployment's running pods.
func running(ctx context.Context, s *neighbours.Space, app string) ([]string, error) {
	options := byApp(app)
	options.FieldSelector = "status.phase=Running"
	return s.Images(ctx, options)
}

// byApp selects the objects of a Deployment.
func byApp(app string) metav1.ListOptions { return metav1.ListOptions{LabelSelector: "app=" + app} }

// wantCreateFailure waits until a ReplicaSet of a Deployment reports that Gatekeeper has denied its
// pods because of the namespace's constraint.
func wantCreateFailure(t *testing.T, s *neighbours.Space, app string) {
	t.Helper()
	s.Eventually("a denial of pods", func(ctx context.Context) error {
		list, err := env.Client.AppsV1().ReplicaSets(s.Name).List(ctx, byApp(app))
		if err != nil {
			return err
		}
		for i := range list.Items {
			for _, c := range list.Items[i].Status.Conditions {
				if c.Type == "ReplicaFailure" && denied(errors.New(c.Message), s.Name) {
					return nil
				}
			}
		}
		return errors.New("no ReplicaSet reports it")
	})
}
