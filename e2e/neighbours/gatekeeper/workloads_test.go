// SPDX-License-Identifier: Apache-2.0

package gatekeeper

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/clustertest"
	"github.com/tagpin/tagpin/e2e/neighbours"
)

// expansion makes Gatekeeper check the pods of a Deployment together with the Deployment.
const expansion = `
apiVersion: expansion.gatekeeper.sh/v1beta1
kind: ExpansionTemplate
metadata: {name: deployments}
spec:
  applyTo: [{groups: [apps], kinds: [Deployment], versions: [v1]}]
  templateSource: spec.template
  generatedGVK: {group: "", version: v1, kind: Pod}
`

// TestOutage creates a Deployment while its registry is down.
func TestOutage(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "Pods need a digest. A Deployment with a tag is created while its registry is down. The registry comes back.",
		Result: "The Deployment is admitted, since the constraint does not check it. When the registry is back, its pods run with a digest.",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	reference, digest := clustertest.Push(t, env.Spare, s.Name+"/app:1")
	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	s.Apply(fmt.Sprintf(deployment, "web", reference))
	s.WantDeployment("the registry is down", reference, 1, 1)
	env.Spare.SetDown(false)
	wantPods(t, s, "web", reference+"@"+digest)
}

// TestExpansion checks the pods of Deployments with their Deployments.
func TestExpansion(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:     "Pods need a digest, and an `ExpansionTemplate` makes Gatekeeper check Deployments as the pods that they will have. Deployments with tags are created: with tagpin, while the registry is down, and where tagpin pins pods only.",
		Result:   "With tagpin they are accepted. In the other two cases, Gatekeeper denies them, although their pods would be pinned.",
		Settings: "No `ExpansionTemplate` with `pin: [pods]`, and where Deployments should wait for a registry.",
	})
	s := env.NewSpace(t)
	requireDigests(t, s)
	reference, _ := clustertest.Push(t, env.Spare, s.Name+"/app:1")
	s.Apply(expansion)
	t.Cleanup(func() {
		_, _, err := env.RunKubectl(context.WithoutCancel(t.Context()),
			nil, "delete", "expansiontemplate/deployments")
		if err != nil {
			t.Error(err)
		}
	})
	inForce(t, s, "expansiontemplate/deployments")
	try := func() error {
		manifest := strings.NewReader(fmt.Sprintf(deployment, "web", reference))
		_, _, err := env.RunKubectl(t.Context(), manifest,
			"-n", s.Name, "create", "--dry-run=server", "-f", "-")
		return err
	}
	if err := try(); err != nil {
		t.Errorf("with tagpin: %v", err)
	}

	env.Spare.SetDown(true)
	defer env.Spare.SetDown(false)
	if err := try(); !denied(err, s.Name) {
		t.Errorf("the registry is down: %v, want a denial", err)
	}
	env.Spare.SetDown(false)

	register := func(flags ...string) {
		if err := env.Register(t.Context(), flags...); err != nil {
			t.Fatal(err)
		}
	}
	register("--pods-only")
	defer register()
	s.Eventually("a denial where tagpin pins pods only", func(context.Context) error {
		if err := try(); !denied(err, s.Name) {
			return fmt.Errorf("the Deployment: %w, want a denial", err)
		}
		return nil
	})
	register()
	s.Eventually("no denial where tagpin pins workloads", func(context.Context) error { return try() })
}
