// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"
)

// TestSmallPages checks that the kernel gives no huge pages to a process with a memory limit.
func TestSmallPages(t *testing.T) {
	const huge = "THP_enabled:\t1"
	before := allowHugePages(t)
	t.Cleanup(func() { _ = unix.Prctl(unix.PR_SET_THP_DISABLE, uintptr(before), 0, 0, 0) })
	memory := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(memory) })
	if !strings.Contains(status(t), huge) {
		t.Skip("this kernel doesn't report whether a process gets huge pages")
	}
	LimitMemory(filesOf(nil), logr.Discard())
	if !strings.Contains(status(t), huge) {
		t.Error("without a memory limit, huge pages are off, want them unchanged")
	}
	limited := filesOf(map[string]string{"sys/fs/cgroup/memory.max": "4294967296"})
	LimitMemory(limited, logr.Discard())
	if strings.Contains(status(t), huge) {
		t.Error("with a memory limit, huge pages are on, want them off")
	}
}

// allowHugePages undoes useSmallPages. It returns what was set before.
func allowHugePages(t *testing.T) (before int) {
	t.Helper()
	before, err := unix.PrctlRetInt(unix.PR_GET_THP_DISABLE, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return before
}

// status returns what the kernel says about this process (proc_pid_status(5)).
func status(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
