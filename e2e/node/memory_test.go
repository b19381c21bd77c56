// SPDX-License-Identifier: Apache-2.0

package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestWriteText writes a file that exists and one that does not.
func TestWriteText(t *testing.T) {
	path := filepath.Join(t.TempDir(), limitV1)
	if err := writeText(path, "7"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("writeText of a missing file = %v, want %v", err, fs.ErrNotExist)
	}
	if err := os.WriteFile(path, []byte("9"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeText(path, "7"); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "7" {
		t.Errorf("the file has %q (%v), want 7", text, err)
	}
}

// TestOutOfMemoryKills reads the kernel's own counter.
func TestOutOfMemoryKills(t *testing.T) {
	if kills, err := OutOfMemoryKills(); err != nil || kills < 0 {
		t.Errorf("OutOfMemoryKills = %d, %v, want a number", kills, err)
	}
}
