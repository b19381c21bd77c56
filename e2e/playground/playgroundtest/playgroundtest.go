// SPDX-License-Identifier: Apache-2.0

// Package playgroundtest uses a playground as a person does who follows its guide.
package playgroundtest

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

	"github.com/tagpin/tagpin/e2e/playground"
)

// deadline bounds the use of a playground. It begins when the guide is printed, because the first
// run builds Kubernetes before that.
const deadline = 8 * time.Minute

// Session is a playground in use.
type Session struct {
	Guide string

	ctx            context.Context
	interrupt      func()
	keyboard       io.Writer
	stdout, stderr *screen
	tmp, home      string
	code           int
	ended          chan struct{}
}

// Begin starts a playground, and returns when its guide is printed. last is the guide's last
// sentence.
func Begin(t *testing.T, name string, start playground.Start, last string) *Session {
	t.Helper()
	// The name is short, because the paths of sockets have a limit.
	tmp, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	home := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, interrupt := context.WithCancel(t.Context())
	stdin, keyboard := io.Pipe()
	s := &Session{
		ctx: ctx, interrupt: interrupt, keyboard: keyboard, stdout: &screen{}, stderr: &screen{},
		tmp: tmp, home: home, ended: make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		defer interrupt()
		defer stdin.Close() //nolint:errcheck // never fails (package io)
		s.code = playground.Run(ctx, name, start, nil, stdin, s.stdout, s.stderr)
	}()
	t.Cleanup(func() { interrupt(); <-s.ended }) // otherwise the cluster would outlive the test
	if !s.stdout.wait(ctx, last) {
		t.Fatalf("the guide was not printed: %s", s.stderr)
	}
	s.Guide = s.stdout.String()
	timer := time.AfterFunc(deadline, interrupt)
	t.Cleanup(func() { timer.Stop() })
	return s
}

// Shell runs a command line in a terminal that has run the guide's line that begins with "export".
func (s *Session) Shell(line string) (output string, err error) {
	_, rest, _ := strings.Cut(s.Guide, "  export ")
	export, _, _ := strings.Cut(rest, "\n")
	cmd := exec.CommandContext(s.ctx, "sh", "-c", "export "+export+"\n"+line)
	cmd.Env = append(os.Environ(), "HOME="+s.home) // for kubectl's cache
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Type types a line in the terminal of the playground, and waits until it prints want.
func (s *Session) Type(t *testing.T, line, want string) {
	t.Helper()
	before := strings.Count(s.stderr.String(), want)
	if _, err := io.WriteString(s.keyboard, line+"\n"); err != nil {
		t.Fatal(err)
	}
	said := func() bool { return strings.Count(s.stderr.String(), want) > before }
	if !s.stderr.until(s.ctx, said) {
		t.Fatalf("after %q it does not say %q: %s", line, want, s.stderr)
	}
}

// End interrupts the playground, which must end in order and leave nothing behind.
func (s *Session) End(t *testing.T) {
	t.Helper()
	s.interrupt()
	<-s.ended
	if s.code != playground.ExitOK {
		t.Errorf("exit code = %d, want %d\n%s", s.code, playground.ExitOK, s.stderr)
	}
	if left, err := os.ReadDir(s.tmp); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
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
	return s.until(ctx, func() bool { return strings.Contains(s.String(), text) })
}

// until waits until holds returns true, and reports whether it did.
func (*screen) until(ctx context.Context, holds func() bool) bool {
	for !holds() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}
