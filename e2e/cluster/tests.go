// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tagpin/tagpin/e2e/interrupt"
)

// firstStart bounds a start, which builds Kubernetes the first time.
const firstStart = 20 * time.Minute

// RunTests runs the tests of a package in one environment, and returns the exit code. before makes it ready for them, and
// after looks back at what they did. The environment is ended also where the tests are interrupted: the API server would
// outlive them.
func RunTests(tests interface{ Run() int }, before, after func(context.Context, *Cluster) error) int {
	return runTestsIn(Start, tests, before, after)
}

// RunTestsOnAPIServer is RunTests in an environment of StartAPIServer.
func RunTestsOnAPIServer(tests interface{ Run() int }, before, after func(context.Context, *Cluster) error) int {
	return runTestsIn(StartAPIServer, tests, before, after)
}

// starter starts an environment, and tells progress.
type starter func(context.Context, io.Writer) (*Cluster, error)

func runTestsIn(start starter, tests interface{ Run() int }, before, after func(context.Context, *Cluster) error) int {
	interrupted, stop := interrupt.Context()
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, firstStart)
	defer cancel()
	code, err := runTests(ctx, interrupted, start, tests, before, after)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func runTests(ctx, interrupted context.Context, start starter, tests interface{ Run() int }, before, after func(context.Context, *Cluster) error) (code int, err error) {
	c, err := start(ctx, os.Stderr)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := before(ctx, c); err != nil {
		return 1, err
	}
	ended := make(chan int, 1)
	go func() { ended <- tests.Run() }()
	select {
	case code = <-ended:
		return code, after(interrupted, c)
	case <-interrupted.Done():
		return 1, fmt.Errorf("the tests were interrupted: %w", context.Cause(interrupted))
	}
}
