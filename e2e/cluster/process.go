// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/tagpin/tagpin/e2e/child"
)

// process is a program in the background, which can be started again.
type process struct {
	logFile, binary string
	flags           []string
	environment     []string // beside that of this process

	cmd   *exec.Cmd
	ended <-chan struct{} // closed when the process has ended
}

func newProcess(logFile, binary string, flags ...string) *process {
	return &process{logFile: logFile, binary: binary, flags: flags}
}

// start starts the process; what it writes is appended to the log. It ends by kill, not by the context: the API server must
// not lose it first; or with this process, however that ends.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), p.binary, p.flags...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a Ctrl-C on the terminal is not for it
	p.cmd.Env = append(os.Environ(), p.environment...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.ended, err = child.Start(p.cmd)
	_ = log.Close() // the process has its own
	return err
}

// kill ends the process, if it runs, and waits for its end.
func (p *process) kill() error {
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
