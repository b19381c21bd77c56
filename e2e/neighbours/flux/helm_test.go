// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/neighbours"
)

// TestHelmDrift detects the drift of a release. helm-controller itself does not run here, because
// Go can't download its module: kubectl applies the Deployment with its name, and its library
// compares.
func TestHelmDrift(t *testing.T) {
	env.Record(t, neighbours.Check{
		Done:   "helm-controller did not run: kubectl applies a Deployment in Helm's place. Its tag moves ten times. `fluxcd/pkg/ssa`, by which helm-controller detects drift, compares each time. Then somebody scales the Deployment.",
		Result: "No drift while the tag moves, whether kubectl applies on the server or on the client. Then the number of replicas is the only drift.",
	})
	for name, how := range map[string]string{"server": "--server-side", "client": "--server-side=false"} {
		t.Run(name, func(t *testing.T) {
			s := env.NewSpace(t)
			reference, digest := s.Push("1")
			manifest := neighbours.DeploymentManifest(reference, "")
			s.Kubectl(manifest, "apply", how, "--field-manager=helm-controller", "-f", "-")
			s.RolledOut("deployment/web")
			for range reconciles {
				s.Push("1")
				if got := helmDrift(t, s.Name, manifest); got != "Deployment/web: none" {
					t.Errorf("drift = %q, want none", got)
				}
			}
			s.WantDeployment("compared", reference+"@"+digest, 1, 1)
			s.Kubectl("", "scale", "deployment/web", "--replicas=3")
			want := "Deployment/web: update replace /spec/replicas"
			if got := helmDrift(t, s.Name, manifest); got != want {
				t.Errorf("drift = %q, want %q", got, want)
			}
		})
	}
}

// helmDrift compares a manifest with the objects in a namespace.
func helmDrift(t *testing.T, ns, manifest string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(env.Dir, "helmdrift"))
	cmd.Env = append(os.Environ(), "KUBECONFIG="+env.Kubeconfig)
	manifest = strings.Replace(manifest, "metadata: {", "metadata: {namespace: "+ns+", ", 1)
	cmd.Stdin = strings.NewReader(manifest)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("helmdrift: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
