// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime"
)

// cores are the processor cores that the servers and the load run on. The servers get one, and the
// load, with the registry, gets another one, so that they don't take time from each other, and the
// kernel does not move them.
type cores struct {
	pinned       bool
	all          []int // the cores that this process may use
	server, load int
}

// findCores chooses the cores. Nothing is pinned if this process may use only one core, or if the
// system is not Linux.
func findCores() (cores, error) {
	all, err := allowedCores()
	if err != nil {
		return cores{}, fmt.Errorf("finding the cores of this process: %w", err)
	}
	if len(all) < 2 {
		return cores{all: all}, nil
	}
	return cores{pinned: true, all: all, server: all[0], load: all[len(all)-1]}, nil
}

func (c cores) String() string {
	if !c.pinned {
		return "the servers and the load share all cores, because fewer than two can be set"
	}
	return fmt.Sprintf("the servers run on core %d, and the load on core %d", c.server, c.load)
}

// pinLoad moves all threads of this process to the core of the load.
func (c cores) pinLoad() error {
	if !c.pinned {
		return nil
	}
	runtime.GOMAXPROCS(1)
	return moveThreads(c.load)
}

// asServer calls start, which starts a process. The process and its threads stay on the core of the
// servers.
func (c cores) asServer(start func() error) error { return c.on(start, c.server) }

// everywhere calls start, which starts a process that may use all cores.
func (c cores) everywhere(start func() error) error { return c.on(start, c.all...) }

// on calls start on a thread that runs on the given cores. A process has the cores of the thread
// that starts it.
func (c cores) on(start func() error, these ...int) error {
	if !c.pinned {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := moveThread(these...); err != nil {
		return err
	}
	if err := start(); err != nil {
		_ = moveThread(c.load) // the other error says more
		return err
	}
	return moveThread(c.load)
}
