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
	before := func(ctx context.Context, c *cluster.Cluster) error {
		env = c
		return c.StartControllers(ctx, nodes)
	}
	after := func(context.Context, *cluster.Cluster) error { return nil }
	os.Exit(cluster.RunTests(m, before, after))
}
