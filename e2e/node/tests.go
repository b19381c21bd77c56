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

// Supported returns nil if this machine can make a node's namespaces, or else ErrUnsupported with
// the reason.
func Supported() error { return supported() }

// RunTests runs the tests of a package on one node with tagpin, and returns the exit code. It first
// calls ready with the node, or with the reason why this machine can't have one, so that tests can
// be skipped. The node is stopped even if the tests are interrupted.
//
// RunTests sets no time limit for the whole start, because the first run builds Kubernetes, Helm
// and tagpin's image. Each component that is started has its own limit.
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
	return interrupt.Run(interrupted, tests)
}
