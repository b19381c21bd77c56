// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/tagpin/tagpin/e2e/tools"
)

// Names in the chart.
const (
	// TagpinNamespace is where tagpin runs.
	TagpinNamespace = "tagpin-system"
	// ModeLabel is the label of a namespace that switches tagpin on.
	ModeLabel = "tagpin.dev/mode"
)

// tagpinImage is the repository of tagpin's image.
const tagpinImage = "tagpin/tagpin-webhook"

// values are the values for the chart: the image, and a registry with its own CA.
const values = `image: {repository: %q, tag: e2e, digest: %q}
extraCAs: [{configMap: registry-ca}]
config:
  cache: {negativeTTL: 500ms}
  registries: [{host: %q, caFile: /etc/tagpin-ca/registry-ca/ca.crt}]
`

// InstallTagpin makes tagpin's image, pushes it, and installs tagpin with the chart, as
// deploy/README.md says. It returns when all pods are ready.
func (n *Node) InstallTagpin(ctx context.Context) error {
	n.say("making tagpin's image")
	image, err := n.tagpinImage(ctx)
	if err != nil {
		return err
	}
	digest, err := n.Registry.Push(tagpinImage+":e2e", image)
	if err != nil {
		return err
	}
	repository := path.Join(n.Registry.Host, tagpinImage)
	if err := n.write(map[string][]byte{
		"values.yaml":     fmt.Appendf(nil, values, repository, digest, n.Registry.Host),
		"registry-ca.crt": n.CA.PEM,
	}); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", "namespace", TagpinNamespace},
		{
			"create", "configmap", "registry-ca", "--namespace=" + TagpinNamespace,
			"--from-file=ca.crt=" + n.file("registry-ca.crt"),
		},
	} {
		if _, _, err := n.RunKubectl(ctx, nil, args...); err != nil {
			return err
		}
	}
	n.say("installing deploy/chart")
	_, err = n.RunHelm(ctx, "install", "tagpin", "deploy/chart",
		"--namespace", TagpinNamespace, "--wait", "--values", n.ValuesFile())
	return err
}

// ValuesFile returns the path of the values that tagpin was installed with.
func (n *Node) ValuesFile() string { return n.file("values.yaml") }

// RunHelm runs Helm 4 in the repository's root as the administrator, and returns its stdout.
func (n *Node) RunHelm(ctx context.Context, args ...string) (stdout string, err error) {
	helm, err := tools.Helm(ctx, n.options.Progress)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, helm["4"], args...)
	cmd.Dir = n.root
	stdout, _, err = n.client(cmd, "helm", args)
	return stdout, err
}

// tagpinImage makes tagpin's image by make image.
func (n *Node) tagpinImage(ctx context.Context) (v1.Image, error) {
	dir := n.file("image")
	platform := v1.Platform{OS: "linux", Architecture: runtime.GOARCH}
	cmd := exec.CommandContext(ctx, "make", "-C", n.root, "image", "VERSION=e2e",
		"IMAGE_FLAGS=--platform "+platform.String()+" --output "+dir)
	// The variables of a make that runs these tests are not meant for this make.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make image: %w\n%s", err, out)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	return find(index, platform)
}

// find returns the image of a platform in an index, or in the indexes that it contains.
func find(index v1.ImageIndex, platform v1.Platform) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if m.MediaType.IsIndex() {
			inner, err := index.ImageIndex(m.Digest)
			if err != nil {
				return nil, err
			}
			if image, err := find(inner, platform); err == nil {
				return image, nil
			}
		}
		if m.MediaType.IsImage() && m.Platform != nil && m.Platform.Satisfies(platform) {
			return index.Image(m.Digest)
		}
	}
	return nil, errors.New("the index has no image of " + platform.String())
}

// ErrNoProcess means that a pod has no such process.
var ErrNoProcess = errors.New("no such process")

// KillPod sends SIGKILL to the processes of a pod that run a program. The kubelet then restarts
// their container.
func (n *Node) KillPod(uid, program string) error {
	dirs, err := hierarchies()
	if err != nil {
		return err
	}
	killed := 0
	for _, pid := range processesOf(filepath.Join(dirs[0], n.place.name()), uid) {
		name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil || filepath.Base(name) != program {
			continue
		}
		process, err := os.FindProcess(pid)
		if err != nil {
			return err
		}
		if err := process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		killed++
	}
	if killed == 0 {
		return ErrNoProcess
	}
	return nil
}
