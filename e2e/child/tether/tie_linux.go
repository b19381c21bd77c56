// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// tie has the kernel kill this process with the thread that started it, a thread of parent.
func tie(parent string) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if strconv.Itoa(os.Getppid()) != parent { // it ended before that: the kernel would say nothing
		return errors.New("process " + parent + " has ended")
	}
	return nil
}
