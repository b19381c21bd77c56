// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// try tries to create an object that is not stored.
func (s *space) try(manifest string) error {
	s.t.Helper()
	_, _, err := env.RunKubectl(s.t.Context(), strings.NewReader(manifest),
		"-n", s.Name, "create", "--dry-run=server", "-f", "-")
	return err
}

// TestDigests has a policy that requires digests of pods and of pod templates.
func TestDigests(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A ClusterPolicy with the pattern `image: \"*@*\"` denies Pods and workloads without a digest. A Pod and a Deployment with tags are created where tagpin is off, and in `enforce`. Then the tag moves, and the Deployment's pods are deleted. It is restarted, and rolled back with `kubectl rollout undo`.",
		Result: "Without tagpin, Kyverno denies both. In `enforce` it denies nothing, because it validates what tagpin has pinned. The pods of the first revision run its digest until the restart, and again after the undo.",
	})
	s := newSpace(t)
	reference, first := s.Push("1")
	s.mode("off", false)
	s.policy(all, requireDigest)
	s.denies(reference)
	pod := clustertest.Pod("a", reference)
	if _, err := clustertest.DryRun(t.Context(), env.Client, s.Name, pod); !denied(err) {
		t.Errorf("a pod without tagpin: %v, want a denial", err)
	}
	if err := s.try(deploymentManifest(reference)); !denied(err) {
		t.Errorf("a Deployment without tagpin: %v, want a denial", err)
	}
	s.mode("enforce", true)
	p, err := env.Client.CoreV1().Pods(s.Name).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil || p.Spec.Containers[0].Image != reference+"@"+first {
		t.Errorf("a pod with tagpin: %v, %v", p.Spec.Containers, err)
	}
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+first, 1, 1)
	_, second := s.Push("1")
	s.Apply(deploymentManifest(reference))
	s.Kubectl("", "delete", "pods", "-l", "app=web")
	s.wantDeployed("its pods are new", reference+"@"+first, 1, 1)
	s.Kubectl("", "rollout", "restart", "deployment/web")
	s.wantDeployed("restarted", reference+"@"+second, 2, 2)
	s.Kubectl("", "rollout", "undo", "deployment/web")
	s.wantDeployed("undone", reference+"@"+first, 3, 2)
}

// TestOutage creates a Deployment while its registry is down.
func TestOutage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "The same policy. A Deployment is created while its registry is down: with the rules that Kyverno makes for workloads, and without them. The registry comes back.",
		Result:   "With the rules for workloads, Kyverno denies the Deployment, since tagpin has admitted it with its tag. Without them it is admitted, and its pods are pinned when the registry is back.",
		Settings: "`pod-policies.kyverno.io/autogen-controllers: none`, where Deployments should wait for a registry.",
	})
	s := newSpace(t)
	reference, digest := clustertest.Push(t, env.Spare, s.Name+"/app:1")
	s.policy(all, requireDigest)
	s.denies(reference)
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	if err := s.try(deploymentManifest(reference)); !denied(err) {
		t.Errorf("a Deployment: %v, want a denial", err)
	}
	s.Kubectl("", "annotate", "--overwrite", "clusterpolicy/"+s.Name,
		"pod-policies.kyverno.io/autogen-controllers=none")
	s.Eventually("Kyverno to validate pods only", func(context.Context) error {
		return s.try(deploymentManifest(reference))
	})
	s.Apply(deploymentManifest(reference))
	s.WantDeployment("the registry is down", reference, 1, 1)
	env.Spare.SetDown(false)
	s.wantPods(reference + "@" + digest)
}
