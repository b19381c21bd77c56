// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// knows has Helm 3 say which version of Kubernetes it was made with, as its releases do. Unstamped it says 1.20, and refuses
// charts that need a later one. The verb takes the minor version.
const knows = "-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=%s"

// Helm returns the programs of Helm, by their major versions, 3 and 4. They are built from the module hack/helm, which pins
// them; as those of Build, they stay in the cache folder.
func Helm(ctx context.Context, progress io.Writer) (map[string]string, error) {
	root, err := Module(ctx)
	if err != nil {
		return nil, err
	}
	module := filepath.Join(filepath.Dir(root), "hack", "helm")
	version, err := exec.CommandContext(ctx, "go", "-C", module, "list", "-m", "-f", "{{.Version}}", "k8s.io/client-go").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the version of Kubernetes that Helm is made with: %w", err)
	}
	flags := fmt.Sprintf(knows, strings.Split(string(version), ".")[1]) // v0.37.2
	key, err := key(module, flags)
	if err != nil {
		return nil, err
	}
	parent, unlock, err := folder(ctx, "helm")
	if err != nil {
		return nil, err
	}
	defer unlock()
	dir := filepath.Join(parent, key)
	programs := map[string]string{"3": filepath.Join(dir, "helm3"), "4": filepath.Join(dir, "helm4")}
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return programs, os.Chtimes(dir, now, now)
	}
	return programs, buildHelm(ctx, module, dir, flags, progress)
}

func buildHelm(ctx context.Context, module, dir, flags string, progress io.Writer) error {
	prune(filepath.Dir(dir))
	tmp, err := os.MkdirTemp(filepath.Dir(dir), "building-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for _, version := range []string{"3", "4"} {
		fmt.Fprintf(progress, "building helm %s (minutes the first time)\n", version)
		program := fmt.Sprintf("helm.sh/helm/v%s/cmd/helm", version)
		if err := Go(ctx, module, "build", "-trimpath", "-ldflags", flags, "-o", filepath.Join(tmp, "helm"+version), program); err != nil {
			return fmt.Errorf("building helm %s: %w", version, err)
		}
	}
	return os.Rename(tmp, dir)
}
