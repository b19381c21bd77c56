// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"context"
	"fmt"
	"log"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/e2e/pki"
	"github.com/tagpin/tagpin/e2e/tools"
)

// env is what all tests share.
var env struct {
	programs map[string]tools.Program
	ca       *pki.CA
	dir      string // of files that all read
	seen     *witness
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
	log.SetOutput(env.seen) // where the standard library says what nobody asked for
	code := m.Run()
	if err := env.seen.check(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	// Distribution never ends its broadcaster.
	if err := goleak.Find(goleak.IgnoreTopFunction("github.com/docker/go-events.(*Broadcaster).run")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

func setUp() (err error) {
	// A first start downloads: apt has limits of its own.
	env.programs, err = tools.Debian(context.Background(), os.Stderr, dockerRegistry, nginxProgram)
	if err != nil {
		return err
	}
	if env.ca, err = pki.New(); err != nil {
		return err
	}
	if env.dir, err = os.MkdirTemp("", "tagpin-registries-"); err != nil {
		return err
	}
	env.seen = newWitness()
	return writeFiles()
}
