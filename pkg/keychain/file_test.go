// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// credentials returns shared credentials of some users.
func credentials(users ...string) (creds []keychain.Credential) {
	for _, u := range users {
		creds = append(creds, keychain.Credential{
			Auth: authn.AuthConfig{Username: u, Password: "p"}, Shared: true,
		})
	}
	return creds
}

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

// TestFile checks that a changed file is read, and that the last good version stays if it becomes
// invalid.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	var reports []string
	f := &keychain.File{
		Path: path, Interval: time.Nanosecond,
		Report: func(err error) { reports = append(reports, err.Error()) },
	}
	r := ref.MustParse("ghcr.io/a/b")
	at := time.Now().Add(-time.Hour)
	for i, step := range []struct {
		name    string
		data    []byte // nil if there is no file
		want    []keychain.Credential
		reports int
	}{
		{"missing", nil, nil, 1},
		{"still missing", nil, nil, 1},
		{"present", config("ghcr.io", "one"), credentials("one"), 1},
		{"unchanged", config("ghcr.io", "one"), credentials("one"), 1},
		{"changed", config("ghcr.io", "two"), credentials("two"), 1},
		{"invalid", []byte("canary"), credentials("two"), 2},
		{"one invalid entry", []byte(`{"auths":{"quay.io":"canary","ghcr.io":{"username":"three","password":"p"}}}`), credentials("three"), 3},
		{"too large", []byte(strings.Repeat(" ", 1<<20+1)), credentials("three"), 4},
		{"removed", nil, credentials("three"), 5},
	} {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if step.data != nil {
			writeFile(t, path, step.data, at.Add(time.Duration(i)*time.Second))
		}
		if diff := cmp.Diff(step.want, f.Credentials(t.Context(), r, false)); diff != "" {
			t.Errorf("%s: -want +got\n%s", step.name, diff)
		}
		if len(reports) != step.reports {
			t.Errorf("%s: %d reports, want %d: %q", step.name, len(reports), step.reports, reports)
		}
	}
	for _, report := range reports {
		if strings.Contains(report, "canary") || strings.Count(report, path) != 1 {
			t.Errorf("report %q, want the path once, and no content of the file", report)
		}
	}
}

// TestFileInterval checks that the file is not read again within the interval, unless a credential
// was refused.
func TestFileInterval(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	f := &keychain.File{Path: path, Interval: time.Hour}
	r := ref.MustParse("ghcr.io/a/b")
	for _, step := range []struct {
		user, want string
		fresh      bool
	}{{"one", "one", false}, {"second", "one", false}, {"second", "second", true}} {
		writeFile(t, path, config("ghcr.io", step.user), time.Now())
		if diff := cmp.Diff(credentials(step.want), f.Credentials(t.Context(), r, step.fresh)); diff != "" {
			t.Errorf("Credentials: -want +got\n%s", diff)
		}
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
