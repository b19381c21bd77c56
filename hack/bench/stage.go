// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/util/cert"
)

// stage is a registry, tagpin and the floor, each server a process of its own.
type stage struct {
	images        *images
	registry      string // host
	tagpin, floor string // URLs of /enforce
	client        *http.Client
	close         func()
}

const config = `apiVersion: tagpin.dev/v1alpha1
kind: Config
network: {allow: ["127.0.0.0/8"]}
registries:
- {host: %q, insecure: true, requestsPerSecond: 100000, maxInFlight: 256} # no limit of ours in the way
`

func newStage(ctx context.Context, dir string) (_ *stage, err error) {
	certPEM, keyPEM, err := cert.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	st := &stage{client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 256,
	}}}
	if st.images, err = newImages(); err != nil {
		return nil, err
	}
	server := httptest.NewServer(st.images)
	st.close = server.Close
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	st.registry = strings.TrimPrefix(server.URL, "http://")
	file := filepath.Join(dir, "config.yaml")
	err = errors.Join(
		os.WriteFile(filepath.Join(dir, "tls.crt"), certPEM, 0o600), os.WriteFile(filepath.Join(dir, "tls.key"), keyPEM, 0o600),
		os.WriteFile(file, fmt.Appendf(nil, config, st.registry), 0o600))
	if err != nil {
		return nil, err
	}
	return st, st.startServers(ctx, dir, file)
}

func (st *stage) startServers(ctx context.Context, dir, file string) error {
	binary := filepath.Join(dir, "tagpin-webhook")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./cmd/tagpin-webhook")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building tagpin-webhook, from the root of the repository: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ports, err := freePorts(ctx, 2)
	if err != nil {
		return err
	}
	st.tagpin, st.floor = "https://127.0.0.1:"+ports[0]+"/enforce", "https://127.0.0.1:"+ports[1]+"/enforce"
	return errors.Join(
		st.start(ctx, st.tagpin, binary, "--standalone", "--config", file, "--cert-dir", dir, "--webhook-host", "127.0.0.1",
			"--webhook-port", ports[0], "--health-probe-bind-address", "0", "--metrics-bind-address", "0"),
		st.start(ctx, st.floor, self, floorCommand, dir, ports[1]))
}

// start starts a process and waits until its URL answers.
func (st *stage) start(ctx context.Context, url, binary string, args ...string) error {
	process := exec.CommandContext(ctx, binary, args...)
	process.Cancel = func() error { return process.Process.Signal(syscall.SIGKILL) }
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	before := st.close
	st.close = func() { _ = process.Process.Kill(); <-exited; before() } // nobody is left to drain for
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		if st.answers(ctx, url) {
			return nil
		}
		select {
		case <-tick.C:
		case <-exited:
			return fmt.Errorf("%s ended: %s", binary, process.ProcessState)
		case <-deadline:
			return fmt.Errorf("%s did not get ready", binary)
		}
	}
}

// answers tells whether somebody serves the URL, whatever the answer is to a request that is no review.
func (st *stage) answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := st.client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return true
}

// freePorts gives ports that nobody listened on a moment ago.
func freePorts(ctx context.Context, n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}
