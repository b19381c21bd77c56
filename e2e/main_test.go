// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the one environment of all tests: each has a namespace of its own.
var env *cluster.Cluster

// startDeadline bounds a first start, which builds Kubernetes.
const startDeadline = 20 * time.Minute

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run runs the tests in an environment, which it ends also where it is interrupted: the API server would outlive it.
func run(m *testing.M) int {
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(interrupted, startDeadline)
	defer cancel()
	c, err := cluster.Start(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	env = c
	ended := make(chan int, 1)
	go func() { ended <- m.Run() }()
	code := 1
	select {
	case code = <-ended:
		if err := told(interrupted); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	case <-interrupted.Done():
	}
	if err := c.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
