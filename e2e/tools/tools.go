// SPDX-License-Identifier: Apache-2.0

// Package tools builds the binaries of Kubernetes, Helm and registries from their Go modules, in
// the versions that go.mod pins, and keeps them in the user's cache folder. It also unpacks
// packages of Debian there, for programs that the machine lacks:
//
//	kubernetes, err := tools.Build(ctx, os.Stderr) // etcd, kube-apiserver, kubectl
//	program, err := tools.Debian(ctx, os.Stderr, "docker-registry")
//
// It downloads only Go modules and these packages, and installs nothing.
package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// module is the path of this module.
const module = "github.com/tagpin/tagpin/e2e"

// buildCached builds packages of the module in root, and returns the folder with the programs.
func buildCached(
	ctx context.Context, progress io.Writer, kind, root, flags string, packages map[string]string,
) (string, error) {
	key, err := key(root, flags, packages)
	if err != nil {
		return "", err
	}
	parent, err := folder(kind)
	if err != nil {
		return "", err
	}
	if dir, ok := complete(parent, key); ok { // even while another process builds another version
		return dir, nil
	}
	unlock, err := lock(ctx, progress, parent)
	if err != nil {
		return "", err
	}
	defer unlock()
	return cached(parent, key, func(dir string) error {
		for _, name := range slices.Sorted(maps.Keys(packages)) {
			fmt.Fprintf(progress, "building %s (minutes the first time)\n", name)
			err := Go(ctx, root, "build", "-trimpath", "-ldflags", flags,
				"-o", filepath.Join(dir, name), packages[name])
			if err != nil {
				return fmt.Errorf("building %s: %w", name, err)
			}
		}
		return nil
	})
}

// Module returns the folder of this module. The root module is in its parent folder.
func Module(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("finding module %s (run this inside it): %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Go runs the go command in a module, without cgo. The error of a failure includes the command's
// output.
func Go(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// key is a hash of everything that the programs depend on. A package whose path begins with a dot
// is a program in one file of the module itself.
func key(root, flags string, packages map[string]string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, flags, packages)
	files := []string{"go.mod", "go.sum"}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if strings.HasPrefix(packages[name], ".") {
			files = append(files, filepath.Join(packages[name], "main.go"))
		}
	}
	for _, name := range files {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
