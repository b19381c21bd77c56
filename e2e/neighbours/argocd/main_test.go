// SPDX-License-Identifier: Apache-2.0

package argocd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/neighbours"
	"github.com/tagpin/tagpin/e2e/tools"
)

// env is the environment of all tests. Each has its own namespace, and its own Application in the
// namespace argocd.
var env *neighbours.Env

// module has Argo CD's one program, cmd. The name by which it is called says which part of Argo CD
// it is.
const module = "github.com/argoproj/argo-cd/v3"

// The parts of Argo CD that tests call or restart.
var controller, server part

func TestMain(m *testing.M) {
	os.Exit(neighbours.Tests{
		Name: "argocd", Program: "Argo CD", Modules: []string{module}, Before: start,
	}.Run(m, &env))
}

// start installs Argo CD's kinds and its configuration, and starts Redis and Argo CD. The
// controller compares an Application when it is asked to and when its objects change, but not
// every few minutes.
func start(ctx context.Context, e *neighbours.Env) error {
	err := e.InstallCRDs(ctx, module, "manifests/crds/*-crd.yaml")
	if err != nil {
		return err
	}
	if err := configure(ctx, e); err != nil {
		return err
	}
	redis, err := startRedis(ctx, e)
	if err != nil {
		return err
	}
	repo, err := startPart(ctx, e, "argocd-repo-server", "--address=127.0.0.1", "--disable-tls",
		"--redis="+redis, "--metrics-address=127.0.0.1")
	if err != nil {
		return err
	}
	common := []string{
		"--namespace=argocd", "--redis=" + redis, "--repo-server=" + repo.address,
		"--repo-server-plaintext",
	}
	server, err = startPart(ctx, e, "argocd-server", append(common, "--address=127.0.0.1",
		"--insecure", "--disable-auth")...)
	if err != nil {
		return err
	}
	controller, err = startPart(ctx, e, "argocd-application-controller", append(common,
		"--app-resync=36000")...)
	return err
}

// configure creates the namespace argocd with the ConfigMaps and the Secret that Argo CD is
// installed with.
func configure(ctx context.Context, e *neighbours.Env) error {
	dir, _, err := e.Source(ctx, module)
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create", "namespace", "argocd"},
		{"-n", "argocd", "apply", "-k", filepath.Join(dir, "manifests", "base", "config")},
	} {
		if _, _, err := e.RunKubectl(ctx, nil, args...); err != nil {
			return err
		}
	}
	return nil
}

// startRedis starts Debian's Redis, which keeps nothing on disk, and returns its address.
func startRedis(ctx context.Context, e *neighbours.Env) (address string, err error) {
	redis, err := tools.Debian(ctx, os.Stderr, "redis-server", "redis-tools")
	if err != nil {
		return "", err
	}
	if address, err = neighbours.FreeAddress(ctx); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	p, err := e.StartFile(redis.Path, redis.Env, "--bind", "127.0.0.1", "--port", port,
		"--save", "", "--dir", e.Scratch)
	if err != nil {
		return "", err
	}
	return address, wait(ctx, p, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// part is a part of Argo CD that runs.
type part struct {
	*child.Process
	address, metrics string
}

// startPart starts a part of Argo CD, with flags that name its ports besides those that are given,
// and waits until it answers.
func startPart(
	ctx context.Context, e *neighbours.Env, name string, args ...string,
) (p part, err error) {
	path := filepath.Join(e.Scratch, name)
	if err := os.Symlink(filepath.Join(e.Dir, "cmd"), path); err != nil {
		return part{}, err
	}
	for flag, address := range map[string]*string{
		"--port=": &p.address, "--metrics-port=": &p.metrics,
	} {
		if *address, err = neighbours.FreeAddress(ctx); err != nil {
			return part{}, err
		}
		_, port, err := net.SplitHostPort(*address)
		if err != nil {
			return part{}, err
		}
		if flag == "--port=" && name == "argocd-application-controller" {
			continue // it has only metrics
		}
		args = append(args, flag+port)
	}
	p.Process, err = e.StartFile(path, []string{
		"ARGOCD_FAKE_IN_CLUSTER=true", // in the cluster of KUBECONFIG
		"ARGOCD_GPG_ENABLED=false", "ARGOCD_TLS_DATA_PATH=" + e.Scratch,
		"ARGOCD_SSH_DATA_PATH=" + e.Scratch, "TMPDIR=" + e.Scratch,
		"ARGOCD_ASK_PASS_SOCK=" + filepath.Join(e.Scratch, "ask-pass.sock"),
	}, args...)
	if err != nil {
		return part{}, err
	}
	return p, p.wait(ctx)
}

// wait waits until the part answers. The API server has its metrics before it serves.
func (p part) wait(ctx context.Context) error {
	address := p.metrics
	if filepath.Base(p.Path) == "argocd-server" {
		address = p.address
	}
	return wait(ctx, p.Process, func(ctx context.Context) error {
		return neighbours.Serves(ctx, "http://"+address+"/healthz")
	})
}

// wait waits until a program is ready.
func wait(ctx context.Context, p *child.Process, ready func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := p.Wait(limited, ready); err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(p.Path), err)
	}
	return nil
}

// restart restarts the part with more variables in its environment, and without them when the test
// ends.
func (p part) restart(t *testing.T, variables ...string) {
	t.Helper()
	before := p.Env
	start := func(ctx context.Context, env []string) error {
		if err := p.Kill(); err != nil {
			return err
		}
		p.Env = env
		return errors.Join(p.Start(), p.wait(ctx))
	}
	t.Cleanup(func() {
		if err := start(context.WithoutCancel(t.Context()), before); err != nil {
			t.Error(err)
		}
	})
	if err := start(t.Context(), append(before[:len(before):len(before)], variables...)); err != nil {
		t.Fatal(err)
	}
}
