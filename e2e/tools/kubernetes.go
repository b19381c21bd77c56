// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// KubernetesVariable is the environment variable that selects the version of Kubernetes, by the
// name of its folder in e2e/versions, such as 1.30. The default is the version that e2e/go.mod
// pins, which is the newest. Nothing but [Build] reads the variable.
const KubernetesVariable = "TAGPIN_E2E_KUBERNETES"

// Kubernetes holds the programs of one version of Kubernetes, with an etcd and a kwok that work
// with it.
type Kubernetes struct {
	Dir    string // the folder of the programs
	Module string // the folder of the Go module that pins their versions
	Minor  int    // 30 for v1.30.14
	// Newest reports whether this is the version of e2e/go.mod. Only that version has the programs of
	// a node, and only on Linux.
	Newest bool
}

// stamped are the linker flags of the binaries. Without them Kubernetes reports the version
// v0.0.0-master. The verbs take the version.
const stamped = "-s -w -X k8s.io/component-base/version.gitVersion=%s" +
	" -X k8s.io/component-base/version.gitMajor=%s -X k8s.io/component-base/version.gitMinor=%s"

// binaries returns the packages of the programs, by name.
func (k Kubernetes) binaries() map[string]string {
	all := map[string]string{
		"etcd":                    "go.etcd.io/etcd/server/v3",
		"kube-apiserver":          "k8s.io/kubernetes/cmd/kube-apiserver",
		"kubectl":                 "k8s.io/kubernetes/cmd/kubectl",
		"kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
		"kube-scheduler":          "k8s.io/kubernetes/cmd/kube-scheduler",
		"kwok":                    "sigs.k8s.io/kwok/cmd/kwok",
	}
	if k.Newest && runtime.GOOS == "linux" { // only package node needs the rest, and it needs Linux
		all["kubelet"] = "k8s.io/kubernetes/cmd/kubelet"
		all["kube-proxy"] = "k8s.io/kubernetes/cmd/kube-proxy"
	}
	return all
}

// Build returns the programs of Kubernetes. If they are missing, or were built from another go.mod
// or with other flags, Build builds them, which takes minutes, and reports that to progress.
func Build(ctx context.Context, progress io.Writer) (Kubernetes, error) {
	root, err := Module(ctx)
	if err != nil {
		return Kubernetes{}, err
	}
	k, err := selected(root, os.Getenv(KubernetesVariable))
	if err != nil {
		return Kubernetes{}, err
	}
	version, err := k.version(ctx)
	if err != nil {
		return Kubernetes{}, err
	}
	flags, err := k.parse(version)
	if err != nil {
		return Kubernetes{}, err
	}
	k.Dir, err = buildCached(ctx, progress, "kubernetes", k.Module, flags, k.binaries())
	return k, err
}

// selected returns the version of Kubernetes with the given name, or the newest if it is empty.
func selected(root, name string) (Kubernetes, error) {
	if name == "" {
		return Kubernetes{Module: root, Newest: true}, nil
	}
	folder := filepath.Join(root, "versions")
	k := Kubernetes{Module: filepath.Join(folder, name)}
	if !filepath.IsLocal(name) {
		return k, fmt.Errorf("%s=%s is not the name of a version", KubernetesVariable, name)
	}
	_, err := os.Stat(filepath.Join(k.Module, "go.mod"))
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	entries, err := os.ReadDir(folder)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return k, errors.Join(err, fmt.Errorf("%s=%s: e2e/versions has no such version; it has %s. "+
		"Without the variable the tests run with the newest version",
		KubernetesVariable, name, strings.Join(names, ", ")))
}

// version returns the version of Kubernetes that the module pins.
func (k Kubernetes) version(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	cmd.Dir = k.Module
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding the version of Kubernetes in %s: %w", k.Module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// parse sets Minor from a version, and returns the linker flags.
func (k *Kubernetes) parse(version string) (flags string, err error) {
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) == 3 {
		k.Minor, err = strconv.Atoi(parts[1])
	}
	if len(parts) < 3 || err != nil {
		return "", fmt.Errorf("invalid version %q of Kubernetes", version)
	}
	return fmt.Sprintf(stamped, version, parts[0], parts[1]), nil
}

// File returns the path of a program.
func (k Kubernetes) File(name string) string { return filepath.Join(k.Dir, name) }
