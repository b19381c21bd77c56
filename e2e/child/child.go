// SPDX-License-Identifier: Apache-2.0

// Package child starts programs that end with this process, even if it panics or is killed:
//
//	ended, err := child.Start(cmd)
//	…
//	_ = cmd.Process.Kill()
//	<-ended
//
// On Linux the kernel kills a program when the thread that started it ends (PR_SET_PDEATHSIG in
// prctl(2)). Because Go ends threads at any time, each program gets a thread of its own, which
// lives as long as the program. On other systems a program outlives a process that is killed.
package child

import (
	"os/exec"
	"runtime"
)

// Start starts cmd. The channel is closed when the program has ended; cmd.ProcessState then says
// how it ended.
func Start(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	tie(cmd)
	started, over := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with the goroutine
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState says how it ended
			close(over)
		}
	}()
	return over, <-started
}

// OnThread calls f on a thread of its own, which lives until release is called. Programs that f
// starts through a tether do not end earlier than that.
func OnThread(f func() error) (release func(), err error) {
	result, over := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		result <- f()
		<-over
	}()
	return func() { close(over) }, <-result
}
