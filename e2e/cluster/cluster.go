// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a Kubernetes API server, registries, and tagpin as its webhook, all on
// loopback.
//
//	c, err := cluster.Start(ctx, os.Stderr)
//	defer c.Stop()
//	digest, err := c.Open.PushImage("team/app:1")
//
// Until StartControllers is called, there are no controllers and no nodes, so that a Deployment
// gets no pods. The package is for tests and for trying tagpin out. Nothing is kept.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/scratch"
	"github.com/tagpin/tagpin/e2e/tools"
)

// Names in deploy/kustomize.
const (
	// ConfigurationName is the name of the webhook's registration.
	ConfigurationName = "zz-tagpin"
	// ModeLabel is the label of a namespace that switches tagpin on.
	ModeLabel = "tagpin.dev/mode"
	// ServiceAccount is the API server's user name for the webhook.
	ServiceAccount = "system:serviceaccount:tagpin-system:tagpin-webhook"
)

// Cluster is a running environment.
type Cluster struct {
	Config     *rest.Config // of an administrator
	Client     kubernetes.Interface
	Kubeconfig string // path of the administrator's kubeconfig
	Kubectl    string // path
	Kubernetes tools.Kubernetes
	CA         *pki.CA
	// Open and Spare are open registries. Token and Basic require a token or a password, and their
	// user is registry.User. Tests that switch a registry off use Spare, so that tagpin does not avoid
	// the others because of earlier failures.
	Open, Spare, Token, Basic *registry.Registry
	Tagpin                    *Tagpin

	root        string // of the repository
	scratch     *scratch.Dir
	dir         string // for everything that is written
	env         *envtest.Environment
	release     func() // ends the thread that etcd and kube-apiserver depend on
	controllers []*child.Process
	flags       []string // of tagpin-webhook, without those that name addresses
	progress    io.Writer
}

// Start starts everything, and returns when it is ready. The first time it builds the binaries of
// Kubernetes, which takes minutes. It reports what it does to progress. If Start succeeds, the
// caller must call Stop.
func Start(ctx context.Context, progress io.Writer) (*Cluster, error) {
	return start(ctx, progress, []step{(*Cluster).buildTether, (*Cluster).buildTagpin},
		(*Cluster).startRegistries, (*Cluster).startControlPlane, (*Cluster).startTagpin,
		(*Cluster).install)
}

// StartAPIServer starts only etcd and kube-apiserver, without registries and tagpin.
func StartAPIServer(ctx context.Context, progress io.Writer) (*Cluster, error) {
	return start(ctx, progress, []step{(*Cluster).buildTether}, (*Cluster).startControlPlane)
}

// startLimit bounds the start of everything, after the builds.
const startLimit = 5 * time.Minute

type step func(*Cluster, context.Context) error

// start builds what is missing, without a time limit, and then starts it.
func start(ctx context.Context, progress io.Writer, builds []step, starts ...step) (
	*Cluster, error,
) {
	log.SetLogger(logr.Discard()) // without a logger controller-runtime complains
	module, err := tools.Module(ctx)
	if err != nil {
		return nil, err
	}
	programs, err := tools.Build(ctx, progress)
	if err != nil {
		return nil, err
	}
	dir, err := newDir(progress)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Kubectl: programs.File("kubectl"), Kubernetes: programs,
		root: filepath.Dir(module), scratch: dir, dir: dir.Path,
		env: &envtest.Environment{}, progress: progress,
	}
	if err := c.do(ctx, builds); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	limited, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if err := c.do(limited, starts); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) do(ctx context.Context, steps []step) error {
	for _, step := range steps {
		if err := errors.Join(ctx.Err(), step(c, ctx)); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends everything that runs and removes everything that was written.
func (c *Cluster) Stop() error {
	var errs []error
	if c.Tagpin != nil {
		errs = append(errs, c.Tagpin.Kill())
	}
	for _, p := range c.controllers {
		errs = append(errs, p.Kill())
	}
	if c.Config != nil {
		errs = append(errs, c.env.Stop())
	}
	for _, r := range []*registry.Registry{c.Open, c.Spare, c.Token, c.Basic} {
		if r != nil {
			r.Stop()
		}
	}
	if c.release != nil {
		c.release()
	}
	return errors.Join(append(errs, c.scratch.Remove())...)
}

func (c *Cluster) say(text string) { fmt.Fprintln(c.progress, text) }

func (c *Cluster) startRegistries(context.Context) (err error) {
	c.say("starting registries")
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
	c.Open, c.Spare = start(registry.Open), start(registry.Open)
	c.Token, c.Basic = start(registry.Token), start(registry.Basic)
	return err
}

func (c *Cluster) startControlPlane(context.Context) (err error) {
	c.say("starting etcd and kube-apiserver")
	args := c.env.ControlPlane.GetAPIServer().Configure()
	// By default envtest disables the plugin that adds the pull secrets of service accounts to pods.
	args.Disable("disable-admission-plugins")
	// As in OpenShift, only users who may delete an object may change its owners.
	args.Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	if c.Has(EmptyDirMode) { // an API server does not start with a gate that it does not know
		args.Set("feature-gates", "EmptyDirVolumeMode=true")
	}
	admission, err := c.callerFiles()
	if err != nil {
		return err
	}
	args.Set("admission-control-config-file", admission)
	if err := c.tethered(); err != nil {
		return err
	}
	c.release, err = child.OnThread(func() (err error) {
		c.Config, err = c.env.Start()
		return err
	})
	if err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	c.Config.QPS, c.Config.Burst = -1, 0
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	c.Kubeconfig, err = c.writeKubeconfig("kubeconfig", "admin", "system:masters")
	return err
}

// writeKubeconfig creates a user in the given groups and writes its kubeconfig.
func (c *Cluster) writeKubeconfig(file, name string, groups ...string) (path string, err error) {
	user, err := c.env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
	if err != nil {
		return "", fmt.Errorf("making user %s: %w", name, err)
	}
	data, err := user.KubeConfig()
	if err != nil {
		return "", err
	}
	path = filepath.Join(c.dir, file)
	return path, os.WriteFile(path, data, 0o600)
}

func (c *Cluster) caFile() string { return filepath.Join(c.dir, "ca.crt") }

// RunKubectl runs kubectl as the administrator. The error of a failure includes stderr.
func (c *Cluster) RunKubectl(ctx context.Context, stdin io.Reader, args ...string) (
	stdout, stderr string, err error,
) {
	return c.RunKubectlWith(ctx, nil, stdin, args...)
}

// RunKubectlWith is RunKubectl with more variables in the environment.
func (c *Cluster) RunKubectlWith(
	ctx context.Context, variables []string, stdin io.Reader, args ...string,
) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	// kubectl gets a home of its own, so that its discovery cache does not outlive the API server.
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir)
	cmd.Env = append(cmd.Env, variables...)
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), errs.String(), err
}
