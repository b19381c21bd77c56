// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestCommandEntersTheGroup checks that a program has entered the group when it begins, and that it
// gets its arguments. A folder stands for the cgroup.
func TestCommandEntersTheGroup(t *testing.T) {
	g := memoryGroup{dir: t.TempDir()}
	shell, args := g.command("/bin/sh", []string{"-c", `echo "$$,$0"`, "two words"})
	out, err := exec.CommandContext(t.Context(), shell, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	entered, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(entered)) + ",two words\n"
	if string(out) != want {
		t.Errorf("the program printed %q, want %q", out, want)
	}
}

func TestPeak(t *testing.T) {
	for _, v1 := range []bool{true, false} {
		g := memoryGroup{dir: t.TempDir(), v1: v1}
		if err := os.WriteFile(g.file("max_usage_in_bytes", "peak"), []byte("4096\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := g.peak(); got != 4096 || err != nil {
			t.Errorf("peak with v1=%t = %d, %v, want 4096", v1, got, err)
		}
	}
}

func TestResident(t *testing.T) {
	mib, err := resident(os.Getpid())
	if err != nil || mib < 1 || mib > 10_000 {
		t.Errorf("resident of this process = %v MiB, %v", mib, err)
	}
}
