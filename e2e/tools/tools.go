// SPDX-License-Identifier: Apache-2.0

// Package tools builds the binaries of Kubernetes from their Go modules, as this module's go.mod pins
// them, and keeps them in the user's cache folder. There it also keeps programs of Debian's packages that a machine lacks.
//
//	dir, err := tools.Build(ctx, os.Stderr) // etcd, kube-apiserver, kubectl
//	programs, err := tools.Debian(ctx, os.Stderr, "docker-registry", "nginx")
//
// It downloads nothing but Go modules and those packages, and installs nothing.
package tools

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// module is this module.
const module = "github.com/tagpin/tagpin/e2e"

// stamped are the linker flags of the binaries. Unstamped, Kubernetes calls itself v0.0.0-master; the verb takes its
// version.
const stamped = "-s -w -X k8s.io/component-base/version.gitVersion=%s" +
	" -X k8s.io/component-base/version.gitMajor=%s -X k8s.io/component-base/version.gitMinor=%s"

// keepFor is how long binaries of other versions stay in the cache folder unused.
const keepFor = 14 * 24 * time.Hour

// lockInterval is how often the lock is tried.
const lockInterval = 100 * time.Millisecond

// Binary is one program and the package that it is built from.
type Binary struct{ Name, Package string }

func binaries() []Binary {
	all := []Binary{
		{"etcd", "go.etcd.io/etcd/server/v3"},
		{"kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"},
		{"kubectl", "k8s.io/kubernetes/cmd/kubectl"},
		{"kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"},
		{"kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"},
		{"kwok", "sigs.k8s.io/kwok/cmd/kwok"},
	}
	if runtime.GOOS != "linux" { // package node needs it
		return all
	}
	return append(all, Binary{"kubelet", "k8s.io/kubernetes/cmd/kubelet"}, Binary{"kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"})
}

// Build returns the folder that holds the binaries. The first time, and whenever go.mod or the flags change, it builds
// them, which takes minutes, and says so on progress.
func Build(ctx context.Context, progress io.Writer) (string, error) {
	root, err := Module(ctx)
	if err != nil {
		return "", err
	}
	flags, err := ldflags(ctx, root)
	if err != nil {
		return "", err
	}
	key, err := key(root, flags)
	if err != nil {
		return "", err
	}
	parent, unlock, err := folder(ctx, "kubernetes")
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(parent, key)
	if _, err := os.Stat(dir); err == nil {
		now := time.Now()
		return dir, os.Chtimes(dir, now, now)
	}
	return dir, build(ctx, root, dir, flags, progress)
}

// build builds beside dir and then renames, so that dir is whole or missing.
func build(ctx context.Context, root, dir, flags string, progress io.Writer) error {
	parent := filepath.Dir(dir)
	prune(parent)
	tmp, err := os.MkdirTemp(parent, "building-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	for _, b := range binaries() {
		fmt.Fprintf(progress, "building %s (minutes the first time)\n", b.Name)
		if err := Go(ctx, root, "build", "-trimpath", "-ldflags", flags, "-o", filepath.Join(tmp, b.Name), b.Package); err != nil {
			return fmt.Errorf("building %s: %w", b.Name, err)
		}
	}
	return os.Rename(tmp, dir)
}

// folder is one of the user's cache, for this process alone until it is unlocked.
func folder(ctx context.Context, name string) (path string, unlock func(), err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(cache, "tagpin", name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return "", nil, err
	}
	if unlock, err = lock(ctx, filepath.Join(path, "lock")); err != nil {
		return "", nil, fmt.Errorf("waiting for another process that fills %s: %w", path, err)
	}
	return path, unlock, nil
}

// lock keeps other processes out, which would build the same at the same time. A process that ends gives it back.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errors.Join(err, file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), file.Close())
		case <-time.After(lockInterval):
		}
	}
}

// prune removes what nobody has used for long. That it can't is no harm.
func prune(parent string) {
	entries, _ := os.ReadDir(parent)
	for _, e := range entries {
		if info, err := e.Info(); err == nil && e.IsDir() && time.Since(info.ModTime()) > keepFor {
			_ = os.RemoveAll(filepath.Join(parent, e.Name()))
		}
	}
}

// Module is the folder of this module; the root module is its parent.
func Module(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("finding module %s, to be run inside it: %w", module, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Go runs the go command in a module, without cgo. Its error has what the command said.
func Go(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return nil
}

// ldflags stamps the version that go.mod pins.
func ldflags(ctx context.Context, root string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "k8s.io/kubernetes")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("finding the version of Kubernetes: %w", err)
	}
	version := strings.TrimSpace(string(out))
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) < 3 {
		return "", fmt.Errorf("version %q of Kubernetes is none", version)
	}
	return fmt.Sprintf(stamped, version, parts[0], parts[1]), nil
}

// key names what the binaries are made of.
func key(root, flags string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, runtime.Version(), runtime.GOOS, runtime.GOARCH, flags, binaries())
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}
