// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the one environment of all tests: each has a namespace of its own.
var env *cluster.Cluster

// nodes are as many as tell a DaemonSet from a Pod.
const nodes = 2

func TestMain(m *testing.M) {
	start := func(ctx context.Context, c *cluster.Cluster) error {
		return c.StartControllers(ctx, nodes)
	}
	os.Exit(cluster.Tests{Before: start}.Run(m, &env))
}
