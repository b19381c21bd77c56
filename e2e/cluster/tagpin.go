// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	startDeadline = 30 * time.Second
	pollInterval  = 20 * time.Millisecond
)

// Tagpin is a process of tagpin-webhook.
type Tagpin struct {
	*child.Process
	MetricsURL string

	address  string // of the webhook, as in the registration
	readyURL string
}

// buildTagpin builds tagpin-webhook.
func (c *Cluster) buildTagpin(ctx context.Context) error {
	c.say("building tagpin-webhook (minutes the first time)")
	return tools.Go(ctx, c.root, "build", "-trimpath", "-ldflags=-s -w", "-o", c.binary(),
		"./cmd/tagpin-webhook")
}

// startTagpin starts tagpin-webhook with the credentials of its service account.
func (c *Cluster) startTagpin(ctx context.Context) error {
	c.say("starting tagpin-webhook")
	flags, err := c.tagpinFiles()
	if err != nil {
		return err
	}
	c.flags = flags
	c.Tagpin, err = c.StartCopy(ctx, "tagpin")
	return err
}

// StartCopy starts a process of tagpin-webhook with the same config, certificate and user as
// c.Tagpin. Its log has the given name. The caller must call Kill.
func (c *Cluster) StartCopy(ctx context.Context, name string) (*Tagpin, error) {
	// Registries that the config does not name are trusted too, as on the internet.
	return c.startWebhook(ctx, name, []string{"SSL_CERT_FILE=" + c.caFile()}, c.flags)
}

// startWebhook starts a process of tagpin-webhook, which has a name, with variables and flags. It
// tries several times, because another process may take a free port before tagpin does.
func (c *Cluster) startWebhook(
	ctx context.Context, name string, variables, flags []string,
) (t *Tagpin, err error) {
	const attempts = 3
	for range attempts {
		t = &Tagpin{Process: &child.Process{
			Path: c.binary(), Env: append(os.Environ(), variables...),
			LogFile: filepath.Join(c.dir, name+".log"),
		}}
		if err = t.start(ctx, flags); err == nil || ctx.Err() != nil {
			return t, err
		}
	}
	return t, err
}

// tagpinFiles writes the files that tagpin reads, and returns the flags that name them.
func (c *Cluster) tagpinFiles() (flags []string, err error) {
	kubeconfig, err := c.writeKubeconfig("tagpin.kubeconfig", ServiceAccount,
		"system:serviceaccounts", "system:serviceaccounts:tagpin-system", "system:authenticated")
	if err != nil {
		return nil, err
	}
	leaf, err := c.CA.Issue()
	if err != nil {
		return nil, err
	}
	config, err := c.config()
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(c.dir, "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(certs, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(certs, "tls.key"), leaf.KeyPEM, 0o600),
		os.WriteFile(c.configFile(), config, 0o600),
	)
	return []string{
		"--config=" + c.configFile(), "--kubeconfig=" + kubeconfig,
		"--cert-dir=" + certs, "--client-ca=" + c.clientCAFile(),
	}, err
}

func (c *Cluster) binary() string     { return filepath.Join(c.dir, "tagpin-webhook") }
func (c *Cluster) configFile() string { return filepath.Join(c.dir, "config.yaml") }

// config returns the config of tagpin. It allows loopback, and has the registries, all kinds of
// deploy/templates, as many annotations for refreshes as there may be, because they cost the
// conditions of the registration, and an operator that compares images.
func (c *Cluster) config() ([]byte, error) {
	b := []byte(`apiVersion: tagpin.dev/v1alpha1
kind: Config
certificates: {mode: mounted}
cache: {negativeTTL: 500ms}
network: {allow: [127.0.0.0/8]}
skipOwners:
- {owner: e2e.tagpin.dev/Picky, users: [picky]}
refreshAnnotations:
- keel.sh/update-time
- cattle.io/timestamp
- dev.okteto.com/last-updated
- reloader.stakater.com/last-reloaded-from
- a.example/restarted
- b.example/restarted
- c.example/restarted
- d.example/restarted
registries:
`)
	for _, r := range []*registry.Registry{c.Open, c.Spare, c.Token, c.Basic} {
		b = fmt.Appendf(b, "- {host: %q, caFile: %q}\n", r.Host, c.caFile())
	}
	files, err := filepath.Glob(filepath.Join(c.root, "deploy", "templates", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("deploy/templates has no files"), err)
	}
	b = append(b, "templates:\n"...)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		_, list, ok := bytes.Cut(text, []byte("\ntemplates:\n"))
		if !ok {
			return nil, fmt.Errorf("%s has no templates", file)
		}
		b = append(b, list...)
	}
	return b, nil
}

// Reconfigure replaces the config of the running tagpin by what change makes of the default, or by
// the default if change is nil. It returns when the new config is in force.
func (c *Cluster) Reconfigure(ctx context.Context, change func(config string) string) error {
	const reloads = "tagpin_config_reloads_total"
	config, err := c.config()
	if err != nil {
		return err
	}
	if change != nil {
		config = []byte(change(string(config)))
	}
	before, err := c.Tagpin.Metric(ctx, reloads, `result="ok"`)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.configFile(), config, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		now, err := c.Tagpin.Metric(ctx, reloads, `result="ok"`)
		if err == nil && now > before {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the new config was not loaded: %w", errors.Join(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// start starts the process at free addresses and waits until it is ready. If it fails, the process
// does not run.
func (t *Tagpin) start(ctx context.Context, flags []string) (err error) {
	var metrics, probes string
	for _, address := range []*string{&t.address, &metrics, &probes} {
		if *address, err = freeAddress(ctx); err != nil {
			return err
		}
	}
	host, port, err := net.SplitHostPort(t.address)
	if err != nil {
		return err
	}
	t.MetricsURL = "http://" + metrics + "/metrics"
	t.readyURL = "http://" + probes + "/readyz"
	t.Args = slices.Concat(flags, []string{
		"--webhook-host=" + host, "--webhook-port=" + port,
		"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes,
	})
	return t.Start(ctx)
}

// Start starts the process, also after Kill, at the addresses that it had, and waits until it is
// ready. If Start fails, the process does not run.
func (t *Tagpin) Start(ctx context.Context) error {
	if err := t.Process.Start(); err != nil {
		return fmt.Errorf("starting tagpin-webhook: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	if err := t.Wait(limited, t.Ready); err != nil {
		return fmt.Errorf("starting tagpin-webhook: %w\n%s", errors.Join(err, t.Kill()), t.Log())
	}
	return nil
}

// freeAddress returns a free address on loopback. Its port is below those that Linux gives to
// connections (net.ipv4.ip_local_port_range), so that none takes it while tagpin is down.
func freeAddress(ctx context.Context) (string, error) {
	const lowest, count = 20000, 12000
	for {
		address := fmt.Sprintf("127.0.0.1:%d", lowest+rand.IntN(count))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return "", err
		}
		return address, l.Close()
	}
}
