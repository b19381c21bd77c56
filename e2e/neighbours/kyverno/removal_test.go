// SPDX-License-Identifier: Apache-2.0

package kyverno

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestRemovalOfTagpin removes tagpin while a policy requires digests.
func TestRemovalOfTagpin(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "A policy requires digests of Pods and workloads. tagpin's registration is deleted. The pods of a Deployment are deleted, and the Deployment is applied again.",
		Result:   "The new pods have the old digest. Kyverno denies the apply, because the manifest has a tag, and the Deployment goes on.",
		Settings: "Delete the policy before tagpin, or [write the digests into the manifests](../README.md#removing-it).",
	})
	s := newSpace(t)
	reference, digest := s.Push("1")
	s.policy(all, requireDigest)
	s.denies(reference)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+digest, 1, 1)
	s.Push("1")
	s.Kubectl("", "delete", "mutatingwebhookconfiguration", cluster.ConfigurationName)
	t.Cleanup(func() {
		if err := env.Register(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	again := deploymentManifest(reference)
	s.Eventually("a denial by Kyverno", func(ctx context.Context) error {
		_, _, err := env.RunKubectl(ctx, strings.NewReader(again), "-n", s.Name, "apply", "-f", "-")
		if !denied(err) {
			return errors.Join(errors.New("Kyverno does not deny the Deployment"), err)
		}
		return nil
	})
	s.Kubectl("", "delete", "pods", "--all")
	s.wantDeployed("without tagpin", reference+"@"+digest, 1, 1)
}

// TestRemovalOfKyverno removes Kyverno, which has written the digest of a Deployment.
func TestRemovalOfKyverno(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A policy with `mutateDigest: true` has written the digest of a Deployment, and its tag moves. Kyverno's registrations and its admission controller are removed. The Deployment is applied again with its tag, and then restarted. Then the template gets the annotation `tagpin.dev/refresh`.",
		Result: "The apply changes nothing: tagpin puts the digest back. The restart keeps it, because tagpin has not written it. The annotation brings the new digest.",
	})
	s := newSpace(t)
	reference, first := s.Push("1")
	s.policy(all, mutateDigest)
	s.mutates(reference, reference+"@"+first)
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("deployed", reference+"@"+first, 1, 1)
	_, second := s.Push("1")
	if err := kyverno.remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := kyverno.start(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.Eventually("the API server to stop calling Kyverno", func(ctx context.Context) error {
		pod, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", reference))
		if err == nil && pod.Annotations["tagpin.dev/pins"] == "" {
			err = errors.New("tagpin has not pinned the pod")
		}
		return err
	})
	s.Apply(deploymentManifest(reference))
	s.wantDeployed("applied again", reference+"@"+first, 1, 1)
	if pins := s.pins(); pins != "" {
		t.Errorf("the pins of tagpin are %s, want none", pins)
	}
	s.Kubectl("", "rollout", "restart", "deployment/web")
	s.RolledOut("deployment/web")
	s.wantPods(reference + "@" + first)
	s.Apply(neighbours.DeploymentManifest(reference, "tagpin.dev/refresh: a"))
	s.RolledOut("deployment/web")
	s.wantPods(reference + "@" + second)
}
