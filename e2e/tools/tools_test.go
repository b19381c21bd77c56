// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// TestKeyIsStable checks that a second run finds what the first run has built, and that a program
// of another source is built again.
func TestKeyIsStable(t *testing.T) {
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	get := func(flags, source string) string {
		if err := os.WriteFile(filepath.Join(root, "main.go"), []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := key(root, flags, map[string]string{"program": "."})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first := get("flags", "source")
	if second := get("flags", "source"); second != first {
		t.Errorf("key = %s, then %s", first, second)
	}
	if get("other flags", "source") == first || get("flags", "other source") == first {
		t.Error("the key of other flags or another source is the same")
	}
}

// TestToolPackages reads the tools of a go.mod: of other modules, with and without a major version,
// and of the module itself.
func TestToolPackages(t *testing.T) {
	dir := t.TempDir()
	text := "module example.com/mine\ntool (\n\texample.com/a/cmd/run\n\texample.com/other/v3\n" +
		"\texample.com/mine/own\n)\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := toolPackages(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"run": "example.com/a/cmd/run", "other": "example.com/other/v3", "own": "./own",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("toolPackages, -want +got:\n%s", diff)
	}
}
