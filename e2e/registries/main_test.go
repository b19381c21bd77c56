// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/tools"
)

// env is shared by all tests.
var env struct {
	dockerRegistry tools.Program
	programs       tools.Registries
	gitea          *gitea
	ca             *pki.CA
	dir            string // of the files that all registries read
	seen           *witness
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(env.dir) }()
	log.SetOutput(env.seen) // the standard library logs here
	code := m.Run()
	if err := errors.Join(env.gitea.process.Kill(), env.seen.check()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	// Distribution never stops its broadcaster.
	const broadcaster = "github.com/docker/go-events.(*Broadcaster).run"
	if err := goleak.Find(goleak.IgnoreTopFunction(broadcaster)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func setUp() (err error) {
	// The first run downloads and builds the programs. apt has time limits of its own.
	ctx := context.Background()
	env.dockerRegistry, err = tools.Debian(ctx, os.Stderr, "docker-registry")
	if err != nil {
		return err
	}
	if env.programs, err = tools.BuildRegistries(ctx, os.Stderr); err != nil {
		return err
	}
	if env.ca, err = pki.New(); err != nil {
		return err
	}
	if env.dir, err = os.MkdirTemp("", "tagpin-registries-"); err != nil {
		return err
	}
	if err := os.WriteFile(rootsFile(), env.ca.PEM, 0o600); err != nil {
		return err
	}
	env.seen = newWitness()
	env.gitea, err = startGitea(ctx, env.programs, env.dir)
	return err
}
