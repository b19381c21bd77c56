// SPDX-License-Identifier: Apache-2.0

// Command tether replaces itself by another program, which the kernel kills when the thread that
// started tether ends. It is for programs that a library starts, such as the etcd of envtest:
//
//	tether 4711 /path/to/etcd --data-dir=…
//
// 4711 is the process that the thread belongs to. If that process has already ended, tether fails.
// On systems other than Linux, tether only replaces itself.
package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: tether PARENT PROGRAM [ARGUMENT…]")
		os.Exit(2)
	}
	program := os.Args[2]
	runtime.LockOSThread() // the setting belongs to the thread, which becomes the program
	err := tie(os.Args[1])
	if err == nil {
		err = syscall.Exec(program, os.Args[2:], os.Environ()) //nolint:gosec // its purpose
	}
	fmt.Fprintf(os.Stderr, "tether: %s: %v\n", program, err)
	os.Exit(1)
}
