// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tagpin/tagpin/e2e/tools"
)

// Deadlines of the process.
const (
	startDeadline = 30 * time.Second
	stopDeadline  = 30 * time.Second
	pollInterval  = 20 * time.Millisecond
)

// Tagpin is the webhook's process.
type Tagpin struct {
	address string // that the registration calls
	metrics string
	probes  string

	cluster *Cluster
	cmd     *exec.Cmd
	ended   chan error
	log     limited
}

// StartTagpin builds tagpin-webhook and starts it, and returns when it is ready. Install comes first.
func (c *Cluster) StartTagpin(ctx context.Context) error {
	t := c.Tagpin
	if t == nil {
		return errors.New("starting tagpin: it is not installed")
	}
	binary := filepath.Join(c.dir, "tagpin-webhook")
	if err := tools.Go(ctx, c.root, "build", "-trimpath", "-o", binary, "./cmd/tagpin-webhook"); err != nil {
		return err
	}
	args, err := t.prepare()
	if err != nil {
		return err
	}
	t.cmd = exec.Command(binary, args...)
	t.cmd.Stdout, t.cmd.Stderr = &t.log, &t.log
	if err := t.cmd.Start(); err != nil {
		return err
	}
	t.ended = make(chan error, 1)
	go func() { t.ended <- t.cmd.Wait() }()
	return t.wait(ctx)
}

// prepare writes the files that tagpin reads, and returns its arguments.
func (t *Tagpin) prepare() (args []string, err error) {
	c := t.cluster
	leaf, err := c.CA.Issue()
	if err != nil {
		return nil, err
	}
	certs := filepath.Join(c.dir, "certs")
	if err := os.MkdirAll(certs, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(c.dir, "config.yaml")
	kubeconfig, err := c.writeKubeconfig("tagpin", c.user)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(filepath.Join(certs, "tls.crt"), leaf.CertPEM, 0o600),
		os.WriteFile(filepath.Join(certs, "tls.key"), leaf.KeyPEM, 0o600),
		os.WriteFile(config, []byte(c.config()), 0o600),
	)
	if t.metrics, err = also(err, freeAddress); err != nil {
		return nil, err
	}
	if t.probes, err = freeAddress(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(t.address)
	return []string{
		"--config=" + config, "--kubeconfig=" + kubeconfig, "--cert-dir=" + certs,
		"--webhook-host=" + host, "--webhook-port=" + port,
		"--metrics-bind-address=" + t.metrics, "--health-probe-bind-address=" + t.probes,
	}, err
}

// also calls f unless there is an error already.
func also(err error, f func() (string, error)) (string, error) {
	if err != nil {
		return "", err
	}
	return f()
}

// wait polls until tagpin is ready or has ended.
func (t *Tagpin) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		if body, err := get(ctx, "http://"+t.probes+"/readyz"); err == nil && body != "" {
			return nil
		}
		select {
		case err := <-t.ended:
			t.ended <- err
			return fmt.Errorf("tagpin-webhook ended: %w\n%s", err, t.Log())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("tagpin-webhook is not ready: %w\n%s", ctx.Err(), t.Log()), t.Stop())
		case <-time.After(pollInterval):
		}
	}
}

// Stop asks the process to end, and waits for it. It returns at once where nothing runs.
func (t *Tagpin) Stop() error {
	if t.cmd == nil {
		return nil
	}
	defer func() { t.cmd = nil }()
	// An error means that it has ended already, which Wait tells.
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-t.ended:
		return nil
	case <-time.After(stopDeadline):
		return errors.Join(errors.New("tagpin-webhook did not end in time: killed"), t.Kill())
	}
}

// Kill ends the process at once, as a lost node would.
func (t *Tagpin) Kill() error {
	err := t.cmd.Process.Kill()
	<-t.ended
	t.cmd = nil
	return err
}

// Log is the last that the process wrote.
func (t *Tagpin) Log() string { return t.log.String() }

// Metric sums a metric's series whose labels hold all of the given texts, such as `mode="enforce"`.
func (t *Tagpin) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	body, err := get(ctx, "http://"+t.metrics+"/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		base, set, _ := strings.Cut(series, "{")
		if base != name || !containsAll(set, labels) {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", series, err)
		}
		sum += f
	}
	return sum, nil
}

func containsAll(s string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}

// get returns the body of a 200.
func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	return string(body), err
}

// limited is a buffer for what a process writes. It keeps the end.
type limited struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const maxLog = 4 << 20

// Write never fails.
func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if over := l.buf.Len() + len(p) - maxLog; over > 0 {
		l.buf.Next(over)
	}
	return l.buf.Write(p)
}

// String is what was kept.
func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
