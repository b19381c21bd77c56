// SPDX-License-Identifier: Apache-2.0

package standalone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Server is a running process that serves webhooks.
type Server struct {
	Address string // host:port
	PID     int
	Log     string // path of the log
	Stop    func() // kills the process and waits until it has exited
}

// StartWebhook starts the tagpin-webhook that Build has built in dir, and waits until it serves.
// dir must also have the files of Certificate. The config and the log are the files name.yaml and
// name.log in dir.
func StartWebhook(
	ctx context.Context, client *http.Client, dir, name string, config []byte,
) (*Server, error) {
	file := filepath.Join(dir, name+".yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	address, err := FreeAddress(ctx)
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return Start(ctx, client, address, filepath.Join(dir, name+".log"),
		filepath.Join(dir, "tagpin-webhook"), "--standalone", "--config", file, "--cert-dir", dir,
		"--webhook-host", host, "--webhook-port", port,
		"--health-probe-bind-address", "0", "--metrics-bind-address", "0")
}

// Start starts a program and waits until it serves webhooks at an address. The process is killed
// when ctx is done and by Stop.
func Start(
	ctx context.Context, client *http.Client, address, log, program string, args ...string,
) (*Server, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the process has its own copy
	process := exec.CommandContext(ctx, program, args...)
	process.Stdout, process.Stderr = out, out
	if err := process.Start(); err != nil {
		return nil, err
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	s := &Server{
		Address: address, PID: process.Process.Pid, Log: log,
		// There are no requests left, so the process need not shut down gracefully.
		Stop: func() { _ = process.Process.Kill(); <-exited },
	}
	if err := s.wait(ctx, client, exited); err != nil {
		s.Stop()
		output, _ := os.ReadFile(log)
		return nil, fmt.Errorf("%s %w:\n%s", filepath.Base(program), err, output)
	}
	return s, nil
}

// wait waits until the server responds. The response may be an error, because the request is not a
// review.
func (s *Server) wait(ctx context.Context, client *http.Client, exited <-chan struct{}) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		url := "https://" + s.Address + "/enforce"
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			return resp.Body.Close()
		}
		select {
		case <-tick.C:
		case <-exited:
			return errors.New("exited")
		case <-deadline:
			return errors.New("did not become ready")
		}
	}
}
