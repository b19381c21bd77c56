// SPDX-License-Identifier: Apache-2.0

//go:build linux

package containerd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/e2e/scratch"
	"github.com/tagpin/tagpin/e2e/tools"
)

// prefix is the beginning of the names of containerd's folders.
const prefix = "tagpin-containerd-"

// env is shared by all tests.
var env struct {
	program     tools.Program
	unsupported error // why containerd can't run here
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Many cases wait most of the time.
	if err := errors.Join(flag.Set("test.parallel", "8"), setUp()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

func setUp() error {
	if os.Geteuid() != 0 {
		env.unsupported = errors.New("containerd needs root, to mount what it unpacks")
		return nil
	}
	if _, err := scratch.Sweep(prefix, os.RemoveAll); err != nil {
		return err
	}
	dir, vars, err := tools.NodeFiles(context.Background(), os.Stderr)
	if errors.Is(err, tools.ErrNotDebian) {
		env.unsupported = err
		return nil
	}
	env.program = tools.Program{Path: dir + "/usr/bin/containerd", Env: vars}
	return err
}
