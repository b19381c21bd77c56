// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tagpin/tagpin/e2e/interrupt"
)

const describeDeadline = time.Minute

// RunTests runs the tests of a package on one node with tagpin on it, and returns the exit code. ready gets the node first,
// or the reason why there can be none on this machine, for the tests to be skipped by. The node is ended also where the
// tests are interrupted.
//
// There is no limit for the whole of the start, which builds Kubernetes, Helm and tagpin's image the
// first time: each part that is started has one of its own.
func RunTests(tests interface{ Run() int }, ready func(n *Node, unsupported error)) int {
	interrupted, stop := interrupt.Context()
	defer stop()
	n, err := Start(interrupted, Options{Progress: os.Stderr})
	if errors.Is(err, ErrUnsupported) {
		ready(nil, err)
		return tests.Run()
	}
	code := 1
	if err == nil {
		ready(n, nil)
		code, err = n.runTests(interrupted, tests)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

func (n *Node) runTests(
	interrupted context.Context, tests interface{ Run() int },
) (code int, err error) {
	defer func() { err = errors.Join(err, n.Stop()) }()
	defer func() {
		if code != 0 || err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(interrupted), describeDeadline)
			defer cancel()
			fmt.Fprintln(os.Stderr, n.Describe(ctx))
		}
	}()
	if err := n.InstallTagpin(interrupted); err != nil {
		return 1, err
	}
	ended := make(chan int, 1)
	go func() { ended <- tests.Run() }()
	select {
	case code = <-ended:
		return code, nil
	case <-interrupted.Done():
		return 1, fmt.Errorf("the tests were interrupted: %w", context.Cause(interrupted))
	}
}
