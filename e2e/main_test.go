// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the one environment of all tests: each has a namespace of its own.
var env *cluster.Cluster

// buildDeadline bounds a first run, which builds Kubernetes.
const buildDeadline = 20 * time.Minute

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), buildDeadline)
	defer cancel()
	c, err := cluster.Start(ctx, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	env = c
	code := 1
	if err := start(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if err := c.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func start(ctx context.Context, c *cluster.Cluster) error {
	if err := c.Install(ctx); err != nil {
		return err
	}
	return c.StartTagpin(ctx)
}
