// SPDX-License-Identifier: Apache-2.0

// Package interrupt tells a program that it was asked to end, so that it can first end what would
// outlive it, such as an API server or the folders of a node.
package interrupt

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends when the program is asked to end: by Ctrl-C, by make or CI,
// or because its terminal is closed. The cause of the context names the signal.
//
// SIGPIPE is no such request, and is ignored: a write to a closed stdout fails instead of ending
// the program before it has cleaned up. To ignore it, a program has to receive it. Go then also
// sends it for each connection that the other side has closed, which servers see all the time; see
// the documentation of os/signal.
func Context() (ctx context.Context, stop context.CancelFunc) {
	pipes := make(chan os.Signal, 1) // never read: once it is full, signals are dropped
	signal.Notify(pipes, syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return ctx, func() {
		cancel()
		signal.Stop(pipes)
	}
}

// Run runs tests and returns their exit code. If ctx ends first, Run returns an error at once,
// while the tests are still running.
func Run(ctx context.Context, tests interface{ Run() int }) (code int, err error) {
	ended := make(chan int, 1)
	go func() { ended <- tests.Run() }()
	select {
	case code = <-ended:
		return code, nil
	case <-ctx.Done():
		return 1, fmt.Errorf("the tests were interrupted: %w", context.Cause(ctx))
	}
}
