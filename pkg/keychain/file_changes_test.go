// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// writeFile writes a file and sets its modification time.
func writeFile(t *testing.T, path string, data []byte, when time.Time) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// TestFileSwapped checks that a changed file is read if the size and the time stay the same. The
// kubelet changes a mounted secret by a link to another directory, and a copy may keep the time.
func TestFileSwapped(t *testing.T) {
	dir, when := t.TempDir(), time.Now()
	link := filepath.Join(dir, "..data")
	f := &keychain.File{Path: filepath.Join(link, "config.json"), Interval: time.Nanosecond}
	for _, user := range []string{"one", "two"} {
		version := filepath.Join(dir, user)
		if err := os.Mkdir(version, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(version, "config.json"), config("ghcr.io", user), when)
		if err := os.Symlink(version, link+"_tmp"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+"_tmp", link); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(credentials(user), f.Credentials(t.Context(), ref.MustParse("ghcr.io/a"), false)); diff != "" {
			t.Errorf("Credentials: -want +got\n%s", diff)
		}
	}
}

// TestFileReadableLater checks that a file is read as soon as it can be, even if it has not
// changed, and that an error is reported once.
func TestFileReadableLater(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "link"), filepath.Join(dir, "config.json")
	reports := 0
	f := &keychain.File{Path: path, Interval: time.Nanosecond, Report: func(error) { reports++ }}
	writeFile(t, file, config("ghcr.io", "u"), time.Now().Add(-time.Hour))
	r := ref.MustParse("ghcr.io/a")
	link := func(target string) {
		t.Helper()
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	for i, step := range []struct {
		target  string
		want    []keychain.Credential
		reports int
	}{
		{dir, nil, 1}, // a directory can be opened but not read
		{dir, nil, 1},
		{file, credentials("u"), 1},
		{dir, credentials("u"), 2},
		{file, credentials("u"), 2},
	} {
		link(step.target)
		if diff := cmp.Diff(step.want, f.Credentials(t.Context(), r, false)); diff != "" || reports != step.reports {
			t.Errorf("step %d: %d reports, want %d; -want +got\n%s", i, reports, step.reports, diff)
		}
	}
}

// TestFileConcurrently checks that concurrent callers get one version of a changing file, and never
// a mix.
func TestFileConcurrently(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	f := &keychain.File{Path: path, Interval: time.Nanosecond}
	swap := func(user string) {
		writeFile(t, path+"_tmp", config("ghcr.io", user), time.Now())
		if err := os.Rename(path+"_tmp", path); err != nil {
			t.Fatal(err)
		}
	}
	swap("one")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				got := f.Credentials(t.Context(), ref.MustParse("ghcr.io/a"), true)
				if len(got) != 1 || got[0].Auth.Username != "one" && got[0].Auth.Username != "two" {
					t.Errorf("Credentials = %v, want the one or the other", got)
				}
			}
		})
	}
	for range 10 {
		swap("two")
		swap("one")
	}
	wg.Wait()
}
