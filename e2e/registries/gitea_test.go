// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/child"
	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
	"github.com/tagpin/tagpin/e2e/tools"
)

// gitea is a running Gitea, which has a token realm of its own. It gives everybody a token, with
// which the images of public owners can be pulled.
type gitea struct {
	process  child.Process
	dir      string
	owner    string // its name among the canaries
	password string // of the user, who may read and write everything
}

const giteaConfig = `
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
PROTOCOL = http+unix
HTTP_ADDR = %[1]s/socket
STATIC_ROOT_PATH = %[2]s
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = %[1]s/gitea.db
[security]
INSTALL_LOCK = true
PASSWORD_COMPLEXITY = off
[indexer]
ISSUE_INDEXER_TYPE = db
[cron]
ENABLED = false
[log]
LEVEL = Warn
`

// startGitea starts Gitea with a public and a private organization.
func startGitea(ctx context.Context, programs tools.Registries, dir string) (*gitea, error) {
	file := filepath.Join(dir, "app.ini")
	text := fmt.Sprintf(giteaConfig, dir, programs.GiteaFiles)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	g := &gitea{dir: dir}
	g.owner, g.password = env.seen.newRegistry()
	common := []string{"--config", file, "--work-path", dir}
	environment := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	for _, args := range [][]string{
		{"migrate"},
		{
			"admin", "user", "create", "--admin", "--must-change-password=false",
			"--username", e2eregistry.User, "--password", g.password, "--email", "e2e@example.com",
		},
	} {
		cmd := exec.CommandContext(ctx, programs.Gitea, append(common, args...)...)
		cmd.Env = environment
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gitea %s: %w\n%s", args[0], err, out)
		}
	}
	g.process = child.Process{
		Path: programs.Gitea, Args: append(common, "web"), Env: environment,
		LogFile: filepath.Join(dir, "log"),
	}
	return g, startProgram(ctx, &g.process, func(ctx context.Context) error {
		return errors.Join(g.create(ctx, "team", "public"), g.create(ctx, "hidden", "private"))
	})
}

// create creates an organization, if it does not exist.
func (g *gitea) create(ctx context.Context, name, visibility string) error {
	body := fmt.Sprintf(`{"username": %q, "visibility": %q}`, name, visibility)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gitea/api/v1/orgs", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.SetBasicAuth(e2eregistry.User, g.password)
	r.Header.Set("Content-Type", "application/json")
	answer, err := g.transport().RoundTrip(r)
	if err != nil {
		return err
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusCreated && answer.StatusCode != http.StatusUnprocessableEntity {
		return fmt.Errorf("creating the organization %s: %s\n%s", name, answer.Status, g.process.Log())
	}
	return nil
}

// transport connects to the socket, since Gitea can't be told to choose a free port.
func (g *gitea) transport() *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.dir, "socket"))
		},
	}
}

// newGitea returns the images of an organization.
func newGitea(organization string) func(testing.TB) store {
	return func(testing.TB) store { return &giteaImages{organization + "/app"} }
}

type giteaImages struct{ repository string }

func (i *giteaImages) open(t testing.TB, a access) *endpoint {
	t.Helper()
	e := &endpoint{
		access: a, owner: env.gitea.owner, password: env.gitea.password, repository: i.repository,
	}
	return e.serve(t, func(string) http.Handler {
		return passOn("http://gitea", env.gitea.transport())
	})
}
