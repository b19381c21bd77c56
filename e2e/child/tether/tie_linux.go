// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// tie makes the kernel kill this process when the thread that started it ends. The thread belongs
// to the process parent.
func tie(parent string) error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	if strconv.Itoa(os.Getppid()) != parent { // it ended before the setting took effect
		return errors.New("process " + parent + " has ended")
	}
	return nil
}
