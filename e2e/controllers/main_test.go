// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the environment of all tests. Each has its own namespace.
var env *cluster.Cluster

// nodes is the number of nodes, so that a DaemonSet has more than one pod.
const nodes = 2

func TestMain(m *testing.M) {
	start := func(ctx context.Context, c *cluster.Cluster) error {
		return c.StartControllers(ctx, nodes)
	}
	os.Exit(cluster.Tests{Before: start}.Run(m, &env))
}
