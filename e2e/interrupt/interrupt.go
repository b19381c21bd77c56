// SPDX-License-Identifier: Apache-2.0

// Package interrupt tells a program that it has been asked to end, so that it can first end what would outlive it: an API
// server, the folders of a node.
package interrupt

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// Context returns a context that ends when the program is asked to: by Ctrl-C, by make or CI, by the terminal's window. The
// context's cause names the signal.
//
// A pipe whose reader has gone is no such request. Go tells a program that wants to hear of SIGPIPE of each connection, too,
// that its other side has closed, which servers see every day; see the documentation of os/signal. So it is taken and
// dropped: a write to a closed stdout fails instead of ending the program before it has cleaned up.
func Context() (ctx context.Context, stop context.CancelFunc) {
	pipes := make(chan os.Signal, 1) // never read: it fills, and the rest is dropped
	signal.Notify(pipes, syscall.SIGPIPE)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	return ctx, func() {
		cancel()
		signal.Stop(pipes)
	}
}
