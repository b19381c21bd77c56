// SPDX-License-Identifier: Apache-2.0

package scratch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSweep has a folder in use, a folder that a killed run left behind, and a folder of somebody
// else.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	used, err := New("run-")
	if err != nil {
		t.Fatal(err)
	}
	killed, err := New("run-")
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Lock.Close(); err != nil { // as the kernel does for a killed process
		t.Fatal(err)
	}
	foreign := filepath.Join(os.TempDir(), "run-without-a-lock")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	left, err := Sweep("run-", os.RemoveAll)
	if err != nil || !slices.Equal(left, []string{killed.Path}) {
		t.Errorf("Sweep = %q, %v, want %q", left, err, killed.Path)
	}
	for path, want := range map[string]bool{used.Path: true, killed.Path: false, foreign: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("Stat(%s) = %v, want it to exist: %t", path, err, want)
		}
	}
	if err := used.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(used.Path); err == nil {
		t.Error("the folder exists after Remove")
	}
}
