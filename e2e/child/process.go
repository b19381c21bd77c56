// SPDX-License-Identifier: Apache-2.0

package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// pollInterval is the time between two calls of a function that says whether a program is ready.
const pollInterval = 20 * time.Millisecond

// Process is a program in the background, which ends with this process.
type Process struct {
	Path    string
	Args    []string
	Env     []string // if nil, the environment of this process
	LogFile string   // to which everything that the program writes is appended

	cmd   *exec.Cmd
	ended <-chan struct{}
}

// Start starts the program, which may have run before. It gets no Ctrl-C from the terminal.
func (p *Process) Start() error {
	log, err := os.OpenFile(p.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the program has its own
	p.cmd = exec.CommandContext(context.Background(), p.Path, p.Args...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = p.Env, log, log
	p.ended, err = Start(p.cmd)
	return err
}

// Wait calls ready until it returns nil. It fails early if the program ends.
func (p *Process) Wait(ctx context.Context, ready func(context.Context) error) error {
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("it is not ready: %w", errors.Join(err, ctx.Err()))
		case <-time.After(pollInterval):
		}
	}
}

// PID returns the number of the process. It must have been started.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill kills the program, if it is running, and waits until it has ended.
func (p *Process) Kill() error {
	if p == nil || p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	<-p.ended
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Log returns what the program has written, or why that can't be read.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.LogFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
