// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"context"
	"fmt"
	"strings"
	"testing"
)

// PodsOnly registers only pods. The function that it returns registers workloads too. Both wait
// until the API server uses the new registration. Tests that call it must not run in parallel with
// others.
func (e *Env) PodsOnly(t *testing.T) (undo func()) {
	t.Helper()
	if err := e.Register(t.Context(), "--pods-only"); err != nil {
		t.Fatal(err)
	}
	e.awaitWorkloads(t, false)
	return func() {
		if err := e.Register(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		e.awaitWorkloads(t, true)
	}
}

// awaitWorkloads waits until workloads are pinned, or until they are not.
func (e *Env) awaitWorkloads(t *testing.T, pinned bool) {
	t.Helper()
	s := e.NewSpace(t)
	reference, _ := s.Push("1")
	manifest := DeploymentManifest(reference, "")
	s.Eventually("the registration to be in force", func(context.Context) error {
		image := s.Kubectl(manifest, "create", "--dry-run=server", "-f", "-",
			"-o", "jsonpath={.spec.template.spec.containers[0].image}")
		if strings.Contains(image, "@") != pinned {
			return fmt.Errorf("the template's image is %s", image)
		}
		return nil
	})
}
