// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxCores is the number of cores that a CPUSet can hold.
const maxCores = 1024

// self is the calling thread in the system calls below.
const self = 0

// allowedCores returns the cores that this process may use.
func allowedCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(self, &set); err != nil {
		return nil, err
	}
	var all []int
	for core := range maxCores {
		if set.IsSet(core) {
			all = append(all, core)
		}
	}
	return all, nil
}

// moveThread moves the calling thread to some cores.
func moveThread(these ...int) error {
	set := setOf(these)
	return unix.SchedSetaffinity(self, &set)
}

// moveThreads moves all threads of this process to a core. A new thread begins on the cores of the
// thread that creates it, so moveThreads goes on until it finds no thread to move.
func moveThreads(core int) error {
	want := setOf([]int{core})
	for {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		moved := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil {
				return err
			}
			var has unix.CPUSet
			err = unix.SchedGetaffinity(id, &has)
			if err == nil && has != want {
				moved, err = true, unix.SchedSetaffinity(id, &want)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) { // the thread may have ended
				return err
			}
		}
		if !moved {
			return nil
		}
	}
}

func setOf(these []int) (set unix.CPUSet) {
	for _, core := range these {
		set.Set(core)
	}
	return set
}

// processorTime returns the processor time, including system time, that a process has used so far.
// The kernel counts it in nanoseconds (clock_getcpuclockid(3)).
func processorTime(pid int) (time.Duration, error) {
	const schedulerClock = 2 // CPUCLOCK_SCHED of the kernel
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|schedulerClock), &t); err != nil {
		return 0, err
	}
	return time.Duration(t.Nano()), nil
}
