// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a Kubernetes API server, registries, and tagpin in front, all on loopback.
//
//	c, err := cluster.Start(ctx, os.Stderr) // etcd, kube-apiserver, three registries
//	defer c.Stop()
//	err = c.Install(ctx)                    // deploy/kustomize
//	err = c.StartTagpin(ctx)                // the binary, outside, as its service account
//
// There are no controllers and no nodes: a Deployment makes no pods, and none runs. It is for tests and for trying
// tagpin out, and keeps nothing.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

// Cluster is a running environment.
type Cluster struct {
	Config     *rest.Config // of a cluster administrator
	Client     kubernetes.Interface
	Kubeconfig string // path, of the same
	Kubectl    string // path
	CA         *pki.CA
	// The registries: open, behind tokens, behind a password. Their user is registry.User.
	Open, Token, Basic *registry.Registry
	Tagpin             *Tagpin // after StartTagpin

	root     string // of the repository
	dir      string // all that it writes
	env      *envtest.Environment
	user     *envtest.AuthenticatedUser // tagpin's service account
	progress io.Writer
}

// Start starts the API server and the registries. The first time it builds the binaries first, which takes minutes, and
// says so on progress. Stop is to be called unless it fails.
func Start(ctx context.Context, progress io.Writer) (*Cluster, error) {
	log.SetLogger(logr.Discard()) // controller-runtime complains without one
	module, err := tools.Module(ctx)
	if err != nil {
		return nil, err
	}
	binaries, err := tools.Build(ctx, progress)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "tagpin-e2e-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Kubectl: filepath.Join(binaries, "kubectl"), root: filepath.Dir(module), dir: dir, progress: progress,
		env: &envtest.Environment{BinaryAssetsDirectory: binaries},
	}
	if err := errors.Join(c.startRegistries(), c.startControlPlane()); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// Stop ends all that runs and removes all that was written.
func (c *Cluster) Stop() error {
	var errs []error
	if c.Tagpin != nil {
		errs = append(errs, c.Tagpin.Stop())
	}
	if c.Config != nil {
		errs = append(errs, c.env.Stop())
	}
	for _, r := range []*registry.Registry{c.Open, c.Token, c.Basic} {
		if r != nil {
			r.Stop()
		}
	}
	return errors.Join(append(errs, os.RemoveAll(c.dir))...)
}

func (c *Cluster) startRegistries() (err error) {
	if c.CA, err = pki.New(); err != nil {
		return err
	}
	if err := os.WriteFile(c.caFile(), c.CA.PEM, 0o600); err != nil {
		return err
	}
	start := func(auth registry.Auth) *registry.Registry {
		r, e := registry.Start(registry.Options{CA: c.CA, Auth: auth, Dir: c.dir})
		err = errors.Join(err, e)
		return r
	}
	c.Open, c.Token, c.Basic = start(registry.Open), start(registry.Token), start(registry.Basic)
	return err
}

func (c *Cluster) startControlPlane() (err error) {
	// Without it the API server merges no pull secrets of service accounts into pods.
	c.env.ControlPlane.GetAPIServer().Configure().Disable("disable-admission-plugins")
	if c.Config, err = c.env.Start(); err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	c.Config.QPS, c.Config.Burst = -1, 0
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	admin, err := c.env.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		return err
	}
	if c.Kubeconfig, err = c.writeKubeconfig("admin", admin); err != nil {
		return err
	}
	// Its permissions are those that deploy gives to the service account.
	c.user, err = c.env.AddUser(envtest.User{
		Name:   "system:serviceaccount:tagpin-system:tagpin-webhook",
		Groups: []string{"system:serviceaccounts", "system:serviceaccounts:tagpin-system", "system:authenticated"},
	}, nil)
	return err
}

func (c *Cluster) writeKubeconfig(name string, user *envtest.AuthenticatedUser) (string, error) {
	data, err := user.KubeConfig()
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.dir, name+".kubeconfig")
	return path, os.WriteFile(path, data, 0o600)
}

func (c *Cluster) caFile() string { return filepath.Join(c.dir, "ca.crt") }

// RunKubectl runs kubectl as the administrator and returns its stdout. Its error has what it said on stderr, which is
// returned too.
func (c *Cluster) RunKubectl(ctx context.Context, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	// Its own home, so that no cache of discovery outlives the API server.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir)
	cmd.Stdin = stdin
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), errs.String(), err
}
