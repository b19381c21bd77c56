// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/child"
	"github.com/tagpin/tagpin/e2e/tools"
)

const (
	readyDeadline = 20 * time.Second
	endDeadline   = 5 * time.Second
	pollInterval  = 5 * time.Millisecond
	maxShown      = 2 << 10 // of a log
)

// process is a program that runs until the test ends.
type process struct {
	name  string
	file  string // with all that it writes
	cmd   *exec.Cmd
	ended <-chan struct{} // closed when it has
}

// start starts a program and waits until ready says so. Its log is shown where the test fails.
func start(t testing.TB, name string, args []string, ready func(*process) error) (*process, error) {
	t.Helper()
	program := env.programs[name]
	p := &process{name: name, file: filepath.Join(t.TempDir(), "log")}
	if err := p.exec(program, args); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			text := p.log()
			t.Logf("%s said at last:\n%s", name, text[max(0, len(text)-maxShown):])
		}
	})
	if err := p.wait(t, ready); err != nil {
		return nil, fmt.Errorf("starting %s: %w\n%s", name, err, p.log())
	}
	return p, nil
}

// exec starts the process, which ends with this one.
func (p *process) exec(program tools.Program, args []string) error {
	log, err := os.Create(p.file)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	p.cmd = exec.CommandContext(context.Background(), program.Path, args...)
	p.cmd.Env = slices.Concat([]string{"PATH=" + os.Getenv("PATH")}, program.Env)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.ended, err = child.Start(p.cmd)
	return err
}

func (p *process) wait(t testing.TB, ready func(*process) error) error {
	ctx, cancel := context.WithTimeout(t.Context(), readyDeadline)
	defer cancel()
	for {
		err := ready(p)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// kill ends it at once, as a machine that fails.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(endDeadline):
		p.kill()
	}
}

// log is what it has written, or why that can't be read.
func (p *process) log() string {
	text, err := os.ReadFile(p.file)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// freeAddresses finds free ports of loopback, of which no two are the same: none is given back before all are found. Another
// process may take one first.
func freeAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses
}
