// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// What the tests build.
const (
	version   = "v1.2.3"
	commitDay = "2026-02-03T04:05:06Z"
)

// here is this module's folder as a test finds it; it builds elsewhere.
var here, _ = os.Getwd()

// repository is a copy of this one with one commit, which has the tag of the version.
type repository struct{ dir, commit string }

// newRepository copies all files that git does not ignore.
func newRepository(t *testing.T) repository {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull) // nobody's hooks and signatures
	t.Setenv("SOURCE_DATE_EPOCH", "")
	root := filepath.Join(here, "../..")
	r := repository{dir: filepath.Join(t.TempDir(), "repository")}
	for _, name := range strings.Split(r.git(t, "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if name == "" || os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.git(t, "init", "--quiet", r.dir)
	r.git(t, "-C", r.dir, "add", "--all")
	r.git(t, "-C", r.dir, "commit", "--quiet", "--message=all")
	r.git(t, "-C", r.dir, "tag", version)
	r.commit = r.git(t, "-C", r.dir, "rev-parse", "HEAD")
	return r
}

func (repository) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.c", "GIT_AUTHOR_DATE="+commitDay,
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.c", "GIT_COMMITTER_DATE="+commitDay)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// newRegistry gives the address of a registry in memory, that lists referrers or does not know how.
func newRegistry(t *testing.T, referrers bool) string {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
