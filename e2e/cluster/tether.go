// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/tagpin/tagpin/e2e/scratch"
	"github.com/tagpin/tagpin/e2e/tools"
)

// prefix is the beginning of the names of clusters' folders.
const prefix = "tagpin-cluster-"

// newDir makes the folder of a cluster. It removes the folders of runs that were killed, and
// reports that, with any of their processes that still run. On Linux there should be none.
func newDir(progress io.Writer) (*scratch.Dir, error) {
	left, err := scratch.Sweep(prefix, func(path string) error {
		for _, p := range processesOf(path) {
			fmt.Fprintf(progress, "process %s of a killed run is still running: end it\n", p)
		}
		return os.RemoveAll(path)
	})
	if err != nil {
		return nil, fmt.Errorf("removing the files of a killed run: %w", err)
	}
	for _, path := range left {
		fmt.Fprintf(progress, "removed %s, which a killed run had left behind\n", path)
	}
	return scratch.New(prefix)
}

// processesOf returns the processes whose command lines contain the name of a folder, each as its
// number and its program. Without /proc it finds none.
func processesOf(dir string) (found []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), dir) {
			continue // it has ended, or belongs to something else
		}
		program, _, _ := strings.Cut(string(line), "\x00")
		found = append(found, filepath.Base(filepath.Dir(file))+" ("+filepath.Base(program)+")")
	}
	return found
}

// stub is a script that starts another program, which ends with this process. The verbs take the
// tether, this process, and the other program.
const stub = "#!/bin/sh\nexec '%s' %d '%s' \"$@\"\n"

// buildTether builds the program that ends etcd and kube-apiserver with this process, however it
// ends.
func (c *Cluster) buildTether(ctx context.Context) error {
	return tools.Go(ctx, filepath.Join(c.root, "e2e"), "build", "-trimpath", "-o", c.tether(),
		"./child/tether")
}

func (c *Cluster) tether() string { return filepath.Join(c.dir, "tether") }

// tethered makes envtest start etcd and kube-apiserver with the tether. Their files are in c.dir,
// so that the next run finds them there.
func (c *Cluster) tethered() error {
	bin, data := filepath.Join(c.dir, "bin"), filepath.Join(c.dir, "etcd")
	certs := filepath.Join(c.dir, "apiserver")
	c.env.BinaryAssetsDirectory, c.env.ControlPlaneStartTimeout = bin, startLimit
	c.env.ControlPlane.Etcd = &envtest.Etcd{DataDir: data}
	c.env.ControlPlane.GetAPIServer().CertDir = certs
	var errs []error
	for _, dir := range []string{bin, data, certs} {
		errs = append(errs, os.Mkdir(dir, 0o700))
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		text := fmt.Appendf(nil, stub, c.tether(), os.Getpid(), c.Kubernetes.File(name))
		err := os.WriteFile(filepath.Join(bin, name), text, 0o700) //nolint:gosec // a program
		errs = append(errs, err)
	}
	return errors.Join(append(errs, os.Symlink(c.Kubectl, filepath.Join(bin, "kubectl")))...)
}
