// SPDX-License-Identifier: Apache-2.0

package main

import (
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
	"time"
)

// server is a process that serves a URL.
type server struct {
	url   string
	pid   int
	pprof string // host:port of the profiles; empty if the process does not serve profiles
	log   string // path of the log
}

// cpu returns the processor time that the server has used so far, including system time. It returns
// 0 on systems without /proc.
func (s server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		return 0
	}
	return parseCPU(string(text))
}

// parseCPU returns the sum of utime and stime in proc_pid_stat(5). They are the fields 14 and 15.
// Field 2 is in parentheses and may contain spaces.
func parseCPU(stat string) time.Duration {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux that Go runs on
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		return 0
	}
	return time.Duration(user+system) * tick
}

// start starts a process and waits until it serves url. The process is killed when ctx is done and
// when the stage is closed.
func (st *stage) start(
	ctx context.Context, url, logFile, binary string, args ...string,
) (server, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return server{}, err
	}
	defer func() { _ = out.Close() }() // the process has its own copy
	process := exec.CommandContext(ctx, binary, args...)
	process.Stdout, process.Stderr = out, out
	if err := process.Start(); err != nil {
		return server{}, err
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	before := st.close
	// There are no requests left, so the process need not shut down gracefully.
	st.close = func() { _ = process.Process.Kill(); <-exited; before() }
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !st.answers(ctx, url) {
		select {
		case <-tick.C:
		case <-exited:
			output, _ := os.ReadFile(logFile)
			return server{}, fmt.Errorf("%s exited: %s\n%s",
				filepath.Base(binary), process.ProcessState, output)
		case <-deadline:
			return server{}, fmt.Errorf("%s did not become ready", filepath.Base(binary))
		}
	}
	return server{url: url, pid: process.Process.Pid, log: logFile}, nil
}

// answers reports whether a server responds at url. The response may be an error, because the
// request is not a review.
func (st *stage) answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := st.client.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// freePorts returns n ports that are not in use.
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

// profile starts a CPU profile of tagpin-webhook if the flag -cpuprofile is set. finish waits until
// the profile has been written to its file.
func (st *stage) profile(ctx context.Context, s settings) (finish func() error, err error) {
	if s.cpuProfile == "" {
		return func() error { return nil }, nil
	}
	seconds := int(max(1, (time.Duration(3*s.rounds) * s.round).Seconds()))
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", st.tagpin.pprof, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- download(req, s.cpuProfile) }()
	return func() error { return <-done }, nil
}

// download writes the body of a response to a file.
func download(req *http.Request, file string) (err error) {
	resp, err := http.DefaultClient.Do(req) // the context of req limits the time
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile: %s: %.300s", resp.Status, body)
	}
	return os.WriteFile(file, body, 0o644) //nolint:gosec // the file is not secret
}
