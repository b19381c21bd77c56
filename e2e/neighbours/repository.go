// SPDX-License-Identifier: Apache-2.0

package neighbours

import (
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Repository is a Git repository that is served over HTTP. Its methods fail the test if anything
// goes wrong.
type Repository struct {
	URL string

	t   *testing.T
	dir string
}

// NewRepository creates an empty repository. Git itself serves it, until the test ends.
func NewRepository(t *testing.T) *Repository {
	t.Helper()
	r := &Repository{t: t, dir: t.TempDir()}
	r.git("init", "--quiet", "--initial-branch=main")
	server := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(r.git("--exec-path"), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + r.dir, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(server.Close)
	r.URL = server.URL + "/.git"
	return r
}

// Commit commits a file and returns the commit.
func (r *Repository) Commit(file, text string) (commit string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, file), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", file)
	r.git("commit", "--quiet", "--message=change "+file)
	return r.Revision()
}

// Revision returns the last commit.
func (r *Repository) Revision() string {
	r.t.Helper()
	return r.git("rev-parse", "HEAD")
}

// Revert reverts the last commit and returns the new commit.
func (r *Repository) Revert() (commit string) {
	r.t.Helper()
	r.git("revert", "--no-edit", "HEAD")
	return r.Revision()
}

// git runs git in the repository, without the settings of the user, and returns its output.
func (r *Repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), "git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", args[0], err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
