// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	startDeadline = 30 * time.Second
	pollInterval  = 20 * time.Millisecond
	// startAttempts are more than one: another process may take a free port before tagpin does.
	startAttempts = 3
)

// Tagpin is the webhook's process.
type Tagpin struct {
	LogFile    string // what it writes
	MetricsURL string

	address     string // that the registration calls
	readyURL    string
	environment []string
	process     *process
}

// buildTagpin builds tagpin-webhook.
func (c *Cluster) buildTagpin(ctx context.Context) error {
	c.say("building tagpin-webhook (minutes the first time)")
	return tools.Go(ctx, c.root, "build", "-trimpath", "-ldflags=-s -w", "-o", c.binary(),
		"./cmd/tagpin-webhook")
}

// startTagpin starts tagpin-webhook, as its service account and with its own config.
func (c *Cluster) startTagpin(ctx context.Context) error {
	c.say("starting tagpin-webhook")
	files, err := c.tagpinFiles()
	if err != nil {
		return err
	}
	for range startAttempts {
		c.Tagpin = &Tagpin{
			LogFile: filepath.Join(c.dir, "tagpin.log"),
			// Registries that the config does not name are trusted too, as on the internet.
			environment: []string{"SSL_CERT_FILE=" + c.caFile()},
		}
		if err = c.Tagpin.start(ctx, c.binary(), files); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
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
	return []string{"--config=" + c.configFile(), "--kubeconfig=" + kubeconfig, "--cert-dir=" + certs, "--client-ca=" + c.clientCAFile()}, err
}

func (c *Cluster) binary() string     { return filepath.Join(c.dir, "tagpin-webhook") }
func (c *Cluster) configFile() string { return filepath.Join(c.dir, "config.yaml") }

// config is the config of tagpin here: it knows the registries, all kinds of deploy/templates, and an operator that compares
// texts, and may connect to loopback.
func (c *Cluster) config() ([]byte, error) {
	b := []byte(`apiVersion: tagpin.dev/v1alpha1
kind: Config
certificates: {mode: mounted}
cache: {negativeTTL: 500ms}
network: {allow: [127.0.0.0/8]}
skipOwners:
- {owner: e2e.tagpin.dev/Picky, users: [picky]}
registries:
`)
	for _, r := range []*registry.Registry{c.Open, c.Spare, c.Token, c.Basic} {
		b = fmt.Appendf(b, "- {host: %q, caFile: %q}\n", r.Host, c.caFile())
	}
	files, err := filepath.Glob(filepath.Join(c.root, "deploy", "templates", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(errors.New("there are no files in deploy/templates"), err)
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

// Reconfigure changes the config of the running tagpin, nil to what it was, and returns when that is in force.
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
			return fmt.Errorf("the config is not loaded: %w", errors.Join(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// start starts the process at free addresses and waits until it is ready. Where it fails, nothing runs.
func (t *Tagpin) start(ctx context.Context, binary string, flags []string) (err error) {
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
	t.process = newProcess(t.LogFile, binary, append(flags[:len(flags):len(flags)], "--webhook-host="+host, "--webhook-port="+port,
		"--metrics-bind-address="+metrics, "--health-probe-bind-address="+probes)...)
	t.process.environment = t.environment
	return t.Start(ctx)
}

// Start starts it, also after Kill, at the address that it had, and waits until it is ready. Where it fails, nothing runs.
func (t *Tagpin) Start(ctx context.Context) error {
	if err := t.process.start(ctx); err != nil {
		return fmt.Errorf("starting tagpin-webhook: %w", err)
	}
	if err := t.wait(ctx); err != nil {
		return fmt.Errorf("starting tagpin-webhook: %w\n%s", errors.Join(err, t.Kill()), t.Log())
	}
	return nil
}

// wait polls until tagpin is ready.
func (t *Tagpin) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		if _, err := get(ctx, t.readyURL); err == nil {
			return nil
		}
		select {
		case <-t.process.ended:
			return fmt.Errorf("it ended: %s", t.process.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", ctx.Err())
		case <-time.After(pollInterval):
		}
	}
}

// Kill kills the process: asked to end, it would go on serving for seconds, for clients that are not there any more. What
// it remembered is gone.
func (t *Tagpin) Kill() error { return t.process.kill() }

// Log is what the process has written, or why that can't be read.
func (t *Tagpin) Log() string {
	log, err := os.ReadFile(t.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(log)
}

// freeAddress finds a free port of loopback.
func freeAddress(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
