// SPDX-License-Identifier: Apache-2.0

package process

import "golang.org/x/sys/unix"

// useSmallPages asks the kernel to give this process no huge pages (PR_SET_THP_DISABLE, prctl(2)).
// Some nodes give them to all processes. There, the kernel counts 2 MiB against the memory limit
// where a heap needs 4 KiB, also for memory that Go has just returned
// (https://go.dev/doc/gc-guide#Linux_transparent_huge_pages).
func useSmallPages() error {
	return unix.Prctl(unix.PR_SET_THP_DISABLE, 1, 0, 0, 0)
}
