// SPDX-License-Identifier: Apache-2.0

package tools

import (
	"bytes"
	"context"
	"errors"
	"io"
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
	folder := t.TempDir()
	var said bytes.Buffer
	unlock, err := lock(t.Context(), &said, folder)
	if err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if said.Len() > 0 {
		t.Errorf("the first lock says %q, want nothing, because it did not wait", &said)
	}
	if _, err := lock(ended, &said, folder); !errors.Is(err, context.Canceled) {
		t.Errorf("lock of a locked folder = %v, want %v", err, context.Canceled)
	}
	if want := "waiting for another process, which fills " + folder + "\n"; said.String() != want {
		t.Errorf("the second lock says %q, want %q", &said, want)
	}
	unlock()
	again, err := lock(t.Context(), &said, folder)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// TestCompleteNeedsNoLock uses what was built before while another process builds something else of
// the same kind.
func TestCompleteNeedsNoLock(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	root := t.TempDir()
	for _, name := range []string{"go.mod", "go.sum"} {
		if err := os.WriteFile(filepath.Join(root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	packages := map[string]string{}
	parent, err := folder("kind")
	if err != nil {
		t.Fatal(err)
	}
	built, err := buildCached(t.Context(), io.Discard, "kind", root, "", packages)
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := lock(t.Context(), io.Discard, parent)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ended, end := context.WithCancel(t.Context())
	end()
	again, err := buildCached(ended, io.Discard, "kind", root, "", packages)
	if err != nil || again != built {
		t.Errorf("buildCached while another process builds = %s, %v, want %s", again, err, built)
	}
	_, err = buildCached(ended, io.Discard, "kind", root, "other flags", packages)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("buildCached of what is missing = %v, want it to wait", err)
	}
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
