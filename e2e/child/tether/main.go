// SPDX-License-Identifier: Apache-2.0

// Command tether becomes another program, which the kernel kills when the thread that started
// tether ends. It is for programs that a library starts, such as the etcd of envtest:
//
//	tether 4711 /path/to/etcd --data-dir=…
//
// 4711 is the process whose thread that is: if it has ended already, tether fails. On other systems
// than Linux it only becomes the program.
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
	runtime.LockOSThread() // the setting is the thread's, which becomes the program
	err := tie(os.Args[1])
	if err == nil {
		err = syscall.Exec(program, os.Args[2:], os.Environ()) //nolint:gosec // that is its purpose
	}
	fmt.Fprintf(os.Stderr, "tether: %s: %v\n", program, err)
	os.Exit(1)
}
