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

// The version that the tests build, and the time of its commit.
const (
	version    = "v1.2.3"
	commitTime = "2026-02-03T04:05:06Z"
)

// here is the folder of this module. Tests that build an image change the working directory.
var here, _ = os.Getwd()

// repository is a copy of this repository with one commit, which has the version as a tag.
type repository struct{ dir, commit string }

// newRepository copies all files that git does not ignore.
func newRepository(t *testing.T) repository {
	t.Helper()
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull) // the user's hooks and signatures must not be used
	t.Setenv("SOURCE_DATE_EPOCH", "")
	root := filepath.Join(here, "../..")
	r := repository{dir: filepath.Join(t.TempDir(), "repository")}
	files := r.git(t, "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(files, "\x00") {
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
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b.c", "GIT_AUTHOR_DATE="+commitTime,
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b.c", "GIT_COMMITTER_DATE="+commitTime)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %q: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}

// newRegistry starts a registry in memory, with or without the referrers API. It returns the host
// and port.
func newRegistry(t *testing.T, referrers bool) string {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers),
		registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
