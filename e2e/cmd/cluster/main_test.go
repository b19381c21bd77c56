// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// deadline bounds the commands of the guide. It begins when the guide is printed, because the first
// run builds Kubernetes before that.
const deadline = 5 * time.Minute

// TestRun runs the commands of the guide, and then ends the cluster.
func TestRun(t *testing.T) {
	tmp, home := t.TempDir(), t.TempDir() // home is for kubectl's cache
	t.Setenv("TMPDIR", tmp)
	ctx, end := context.WithCancel(t.Context())
	stdin, keyboard := io.Pipe()
	var stdout, stderr screen
	code := -1
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer end()
		defer stdin.Close() //nolint:errcheck // never fails (package io)
		code = run(ctx, nil, stdin, &stdout, &stderr)
	}()
	defer func() { end(); <-done }() // otherwise the API server would outlive the test
	if !stdout.wait(ctx, "Ctrl-C ends it") {
		t.Fatalf("the guide was not printed: %s", stderr.String())
	}
	defer time.AfterFunc(deadline, end).Stop()
	sh := func(command string) (string, error) {
		cmd := exec.CommandContext(ctx, "sh", "-c", stdout.export()+"\n"+command)
		cmd.Env = append(os.Environ(), "HOME="+home)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	var failed []string
	for line := range strings.Lines(stdout.String()) {
		command, ok := strings.CutPrefix(line, "  kubectl -n ")
		if !ok {
			continue
		}
		if out, err := sh("kubectl -n " + command); err != nil {
			failed = append(failed, command+out)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0], "401 Unauthorized") {
		t.Errorf("%d commands failed, want only the one without its pull secret:\n%s", len(failed), strings.Join(failed, "\n"))
	}
	if out, err := sh("kubectl create namespace mine && kubectl -n mine run p --image=a"); err != nil {
		t.Errorf("a pod in a new namespace: %v\n%s", err, out)
	}
	if _, err := io.WriteString(keyboard, "\n"); err != nil || !stderr.wait(ctx, movingTag+" is now sha256:") {
		t.Errorf("the Enter key did not move the tag: %v, %s", err, stderr.String())
	}
	end()
	<-done
	if code != exitOK {
		t.Errorf("exit code = %d, want %d\n%s", code, exitOK, stderr.String())
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

func TestUsage(t *testing.T) {
	var stderr bytes.Buffer
	if got := run(t.Context(), []string{"up"}, nil, io.Discard, &stderr); got != exitUsage || !strings.Contains(stderr.String(), `"up"`) {
		t.Errorf("run(up) = %d, %s, want %d and the name of the argument", got, stderr.String(), exitUsage)
	}
}

// screen collects what is written to it.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// wait waits until a text was written, and reports whether it was.
func (s *screen) wait(ctx context.Context, text string) bool {
	for !strings.Contains(s.String(), text) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// export returns the command that makes kubectl find the cluster.
func (s *screen) export() string {
	_, rest, _ := strings.Cut(s.String(), "  export ")
	line, _, _ := strings.Cut(rest, "\n")
	return "export " + line
}
