// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPruneRemovesOldFolders(t *testing.T) {
	parent := t.TempDir()
	old := time.Now().Add(-2 * keepFor)
	for _, name := range []string{"old", "new"} {
		if err := os.Mkdir(filepath.Join(parent, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(parent, "lock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "lock"} {
		if err := os.Chtimes(filepath.Join(parent, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	prune(parent)
	for name, want := range map[string]bool{"old": false, "new": true, "lock": true} {
		if _, err := os.Stat(filepath.Join(parent, name)); (err == nil) != want {
			t.Errorf("after prune Stat(%s) = %v, want it to exist: %t", name, err, want)
		}
	}
}

func TestLockKeepsOthersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := lock(ended, path); !errors.Is(err, context.Canceled) {
		t.Errorf("lock of a locked file = %v, want %v", err, context.Canceled)
	}
	unlock()
	again, err := lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// TestKeyIsStable checks that a second run finds what the first run has built.
func TestKeyIsStable(t *testing.T) {
	root, err := Module(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := key(root, "flags")
	if err != nil {
		t.Fatal(err)
	}
	second, err := key(root, "flags")
	if err != nil || first != second {
		t.Errorf("key = %s, then %s, %v", first, second, err)
	}
	if other, err := key(root, "other flags"); err != nil || other == first {
		t.Errorf("key of other flags = %s, %v, want another", other, err)
	}
}
