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

// RunTests runs the tests of a package in one environment, and returns the exit code. before makes it ready for them, and
// after looks back at what they did. The environment is ended also where the tests are interrupted: the API server would
// outlive them. The builds of a first start have no limit, nor has before, which may build too: the time
// limit of go test is the last resort.
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
	code, err := runTests(interrupted, start, tests, before, after)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func runTests(
	interrupted context.Context, start starter, tests interface{ Run() int },
	before, after func(context.Context, *Cluster) error,
) (code int, err error) {
	c, err := start(interrupted, os.Stderr)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.Stop()) }()
	if err := before(interrupted, c); err != nil {
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
