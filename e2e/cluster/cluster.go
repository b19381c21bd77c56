// SPDX-License-Identifier: Apache-2.0

// Package cluster runs a Kubernetes API server, registries, and tagpin in front, all on loopback.
//
//	c, err := cluster.Start(ctx, os.Stderr) // etcd, kube-apiserver, registries, tagpin-webhook, deploy/kustomize
//	defer c.Stop()
//	digest, err := c.Open.PushImage("team/app:1")
//
// There are no controllers and no nodes, so that a Deployment makes no pods, until StartControllers. It is for tests and for
// trying tagpin out, and keeps nothing.
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

// Names that deploy/kustomize gives.
const (
	// ConfigurationName is the name of the webhook's registration.
	ConfigurationName = "zz-tagpin"
	// ModeLabel is the label of a namespace that switches tagpin on.
	ModeLabel = "tagpin.dev/mode"
	// ServiceAccount is the user that the webhook is to the API server.
	ServiceAccount = "system:serviceaccount:tagpin-system:tagpin-webhook"
)

// Cluster is a running environment.
type Cluster struct {
	Config     *rest.Config // of a cluster administrator
	Client     kubernetes.Interface
	Kubeconfig string // path, of the same
	Kubectl    string // path
	CA         *pki.CA
	// The registries: two open ones, one behind tokens, one behind a password. The user of the last two is registry.User.
	// Spare is for those who switch a registry off: what failed there is held against none of the others.
	Open, Spare, Token, Basic *registry.Registry
	Tagpin                    *Tagpin

	root        string // of the repository
	scratch     *scratch.Dir
	dir         string // all that it writes
	binaries    string
	env         *envtest.Environment
	release     func() // of the thread that etcd and kube-apiserver end with
	controllers []*process
	progress    io.Writer
}

// Start starts everything, and returns when it is ready. The first time it builds the binaries of Kubernetes, which takes
// minutes; what it is doing it tells progress. Stop is to be called unless it fails.
func Start(ctx context.Context, progress io.Writer) (*Cluster, error) {
	return start(ctx, progress, []step{(*Cluster).buildTether, (*Cluster).buildTagpin},
		(*Cluster).startRegistries, (*Cluster).startControlPlane, (*Cluster).startTagpin,
		(*Cluster).install)
}

// StartAPIServer starts etcd and kube-apiserver alone: there are no registries, and there is no tagpin.
func StartAPIServer(ctx context.Context, progress io.Writer) (*Cluster, error) {
	return start(ctx, progress, []step{(*Cluster).buildTether}, (*Cluster).startControlPlane)
}

// startLimit is how long everything may take that is started; it begins when everything is built.
const startLimit = 5 * time.Minute

type step func(*Cluster, context.Context) error

// start builds what is missing, which takes as long as it takes, and then starts it.
func start(ctx context.Context, progress io.Writer, builds []step, starts ...step) (
	*Cluster, error,
) {
	log.SetLogger(logr.Discard()) // controller-runtime complains without one
	module, err := tools.Module(ctx)
	if err != nil {
		return nil, err
	}
	binaries, err := tools.Build(ctx, progress)
	if err != nil {
		return nil, err
	}
	dir, err := newDir(progress)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		Kubectl: filepath.Join(binaries, "kubectl"), binaries: binaries,
		root: filepath.Dir(module), progress: progress, scratch: dir, dir: dir.Path, env: &envtest.Environment{},
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

// Stop ends all that runs and removes all that was written.
func (c *Cluster) Stop() error {
	var errs []error
	if c.Tagpin != nil {
		errs = append(errs, c.Tagpin.Kill())
	}
	for _, p := range c.controllers {
		errs = append(errs, p.kill())
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
	// Without it the API server merges no pull secrets of service accounts into pods.
	args.Disable("disable-admission-plugins")
	// To give an object an owner, its deletion has to be allowed, as in OpenShift.
	args.Append("enable-admission-plugins", "OwnerReferencesPermissionEnforcement")
	// A field that is younger than most client libraries: emptyDir.mode.
	args.Set("feature-gates", "EmptyDirVolumeMode=true")
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

// writeKubeconfig makes a user of some groups and writes its kubeconfig.
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

// RunKubectl runs kubectl as the administrator. The error of a failure has what it said on stderr, which is returned too.
func (c *Cluster) RunKubectl(ctx context.Context, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	return c.RunKubectlWith(ctx, nil, stdin, args...)
}

// RunKubectlWith is RunKubectl with more in its environment.
func (c *Cluster) RunKubectlWith(ctx context.Context, environment []string, stdin io.Reader, args ...string) (stdout, stderr string, err error) {
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	// Its own home, so that no cache of discovery outlives the API server.
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "HOME="+c.dir), environment...)
	cmd.Stdin = stdin
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err = cmd.Run(); err != nil {
		err = fmt.Errorf("kubectl %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), errs.String(), err
}
