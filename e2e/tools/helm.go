// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubernetesOfHelm3 makes Helm 3 report the version of Kubernetes that it is made with, as its
// releases do. Without it Helm 3 reports 1.20, and refuses charts that need a later version. The
// verb takes the minor version.
const kubernetesOfHelm3 = "-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1" +
	" -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=%s"

// Helm returns the paths of Helm by major version, "3" and "4". They are built from the module
// hack/helm, which pins their versions, and stay in the cache folder like those of [Build].
func Helm(ctx context.Context, progress io.Writer) (map[string]string, error) {
	root, err := Module(ctx)
	if err != nil {
		return nil, err
	}
	module := filepath.Join(filepath.Dir(root), "hack", "helm")
	version, err := exec.CommandContext(ctx, "go", "-C", module,
		"list", "-m", "-f", "{{.Version}}", "k8s.io/client-go").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the version of Kubernetes that Helm is made with: %w", err)
	}
	minor := strings.Split(string(version), ".")[1] // of v0.37.2, for example
	flags := fmt.Sprintf(kubernetesOfHelm3, minor)
	dir, err := buildCached(ctx, progress, "helm", module, flags, map[string]string{
		"helm3": "helm.sh/helm/v3/cmd/helm", "helm4": "helm.sh/helm/v4/cmd/helm",
	})
	return map[string]string{
		"3": filepath.Join(dir, "helm3"), "4": filepath.Join(dir, "helm4"),
	}, err
}
