// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tagpin/tagpin/e2e/interrupt"
)

// Tests says how the tests of a package run in one environment. The zero value works.
type Tests struct {
	Start  func(context.Context, io.Writer) (*Cluster, error) // default: the function Start
	Before func(context.Context, *Cluster) error              // if not nil, called before the tests
	After  func(context.Context, *Cluster) error              // if not nil, called after the tests
}

// Run starts an environment, stores it in *env, runs tests, and returns the exit code. It stops the
// environment even if the tests are interrupted, because the API server would outlive them.
//
// Run sets no time limit for builds, which take minutes the first time, nor for Before, which may
// build too. The limit of go test still applies.
func (o Tests) Run(tests interface{ Run() int }, env **Cluster) int {
	ctx, stop := interrupt.Context()
	defer stop()
	code, err := o.run(ctx, tests, env)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func (o Tests) run(
	ctx context.Context, tests interface{ Run() int }, env **Cluster,
) (code int, err error) {
	start := o.Start
	if start == nil {
		start = Start
	}
	c, err := start(ctx, os.Stderr)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	*env = c
	if o.Before != nil {
		if err := o.Before(ctx, c); err != nil {
			return 1, err
		}
	}
	code, err = interrupt.Run(ctx, tests)
	if err == nil && o.After != nil {
		err = o.After(ctx, c)
	}
	return code, err
}
