// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestDigests creates pods by tag under a constraint, with and without tagpin.
func TestDigests(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "A constraint with the rule of `K8sImageDigests` denies Pods without a digest. Pods with tags are created where tagpin is off, in its mode `dry-run` and in `enforce`. A running pod gets a debug container with a tag.",
		Result: "In `off` and `dry-run`, Gatekeeper denies them. In `enforce` it denies none, because tagpin has pinned them before.",
	})
	for _, mode := range []string{"off", "dry-run", "enforce"} {
		s := newSpace(t, mode)
		requireDigests(t, s)
		reference, digest := s.Push("1")
		image, err := create(t, s, "a", reference)
		if mode != "enforce" {
			if !denied(err, s.Name) {
				t.Errorf("%s: a pod with a tag: %v, want a denial", mode, err)
			}
			if _, err := create(t, s, "b", reference+"@"+digest); err != nil {
				t.Errorf("%s: a pod with a digest: %v", mode, err)
			}
			continue
		}
		if want := reference + "@" + digest; err != nil || image != want {
			t.Errorf("%s: a pod with a tag has %s, %v, want %s", mode, image, err, want)
		}
		s.Kubectl("", "debug", "a", "--image="+reference, "--attach=false", "--profile=general",
			"--container=tools")
		got := s.Kubectl("", "get", "pod", "a", "-o", "jsonpath={.spec.ephemeralContainers[*].image}")
		if want := reference + "@" + digest; got != want {
			t.Errorf("the debug container has %s, want %s", got, want)
		}
	}
}

// TestMovedTag moves the tag of a Deployment, replaces its pods, restarts it and rolls it back.
func TestMovedTag(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Pods need a digest. The tag of a Deployment moves, and its pods are deleted. It is restarted, and rolled back with `kubectl rollout undo`.",
		Result: "Gatekeeper accepts all pods. Those of the first revision run its digest until the restart, and again after the undo.",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	reference, first := s.Push("1")
	s.Apply(fmt.Sprintf(deployment, "web", reference))
	wantPods(t, s, "web", reference+"@"+first)
	_, second := s.Push("1")
	s.Kubectl("", "delete", "pods", "--all")
	wantPods(t, s, "web", reference+"@"+first)
	s.WantDeployment("its pods are new", reference+"@"+first, 1, 1)
	s.Kubectl("", "rollout", "restart", "deployment/web")
	wantPods(t, s, "web", reference+"@"+second)
	s.WantDeployment("restarted", reference+"@"+second, 2, 2)
	s.Kubectl("", "rollout", "undo", "deployment/web")
	wantPods(t, s, "web", reference+"@"+first)
	s.WantDeployment("rolled back", reference+"@"+first, 3, 2)
}

// TestRemoval removes tagpin, without and with the mode keep before.
func TestRemoval(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Pods need a digest. A Deployment with a tag is applied again in the mode `keep`. Then tagpin's registration is deleted, the pods are deleted, and the Deployment is applied again. tagpin is installed again, and the mode is `enforce` again.",
		Result:   "The pin stays in `keep`, and new pods are accepted without tagpin. The apply without tagpin removes the pin, and Gatekeeper denies the pods of the new revision; those of the old one go on. With tagpin in `enforce`, the next apply of another tag is pinned, and accepted.",
		Settings: "Delete the constraint before tagpin, or [write the digests into the manifests](../README.md#removing-it).",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	reference, digest := s.Push("1")
	manifest := fmt.Sprintf(deployment, "web", reference)
	s.Apply(manifest)
	wantPods(t, s, "web", reference+"@"+digest)
	s.Push("1")
	s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"=keep")
	s.Eventually("the mode keep", func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", reference))
		if !denied(err, s.Name) {
			return fmt.Errorf("a pod with a tag: %w, want a denial by Gatekeeper", err)
		}
		return nil
	})
	s.Apply(manifest)
	s.WantDeployment("applied in keep", reference+"@"+digest, 1, 1)

	s.Kubectl("", "delete", "mutatingwebhookconfiguration", cluster.ConfigurationName)
	t.Cleanup(func() {
		if err := env.Register(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.Kubectl("", "delete", "pods", "--all")
	wantPods(t, s, "web", reference+"@"+digest)
	s.Eventually("the API server to stop calling tagpin", func(context.Context) error {
		out := s.Kubectl(manifest, "apply", "--dry-run=server", "-o", "jsonpath={..image}", "-f", "-")
		if strings.Contains(out, "@") {
			return errors.New("the pin stays")
		}
		return nil
	})
	s.Apply(manifest)
	s.WantDeployment("applied without tagpin", reference, 2, 2)
	wantCreateFailure(t, s, "web")
	wantPods(t, s, "web", reference+"@"+digest)

	two, second := s.Push("2")
	if err := env.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Kubectl("", "label", "--overwrite", "namespace", s.Name, cluster.ModeLabel+"=enforce")
	s.Eventually("tagpin to be called", func(ctx context.Context) error {
		_, err := clustertest.DryRun(ctx, env.Client, s.Name, clustertest.Pod("a", two))
		return err
	})
	s.Apply(fmt.Sprintf(deployment, "web", two))
	wantPods(t, s, "web", two+"@"+second)
}
