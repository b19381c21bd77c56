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
	pprof string // address of its profiles; empty: it has none
	log   string // file
}

// cpu is the processor time that the server has used so far, in the kernel too; zero where there is no /proc.
func (s server) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		return 0
	}
	return parseCPU(string(text))
}

// parseCPU adds the fields utime and stime of proc_pid_stat(5), the 14th and 15th; the second one may hold spaces.
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

// start starts a process, which ends with ctx or the stage, and waits until its URL answers.
func (st *stage) start(ctx context.Context, url, logFile, binary string, args ...string) (server, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return server{}, err
	}
	defer func() { _ = out.Close() }() // the process has its own
	process := exec.CommandContext(ctx, binary, args...)
	process.Stdout, process.Stderr = out, out
	if err := process.Start(); err != nil {
		return server{}, err
	}
	exited := make(chan struct{})
	go func() { _ = process.Wait(); close(exited) }()
	before := st.close
	st.close = func() { _ = process.Process.Kill(); <-exited; before() } // nobody is left to drain for
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !st.answers(ctx, url) {
		select {
		case <-tick.C:
		case <-exited:
			said, _ := os.ReadFile(logFile)
			return server{}, fmt.Errorf("%s ended: %s\n%s", filepath.Base(binary), process.ProcessState, said)
		case <-deadline:
			return server{}, fmt.Errorf("%s did not get ready", filepath.Base(binary))
		}
	}
	return server{url: url, pid: process.Process.Pid, log: logFile}, nil
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
	return resp.Body.Close() == nil
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

// profile starts to profile tagpin, if that is wanted; what it returns waits for the end and writes the file.
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

func download(req *http.Request, file string) (err error) {
	resp, err := http.DefaultClient.Do(req) // its deadline is the request's context
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
	return os.WriteFile(file, body, 0o644) //nolint:gosec // it is for everybody
}
