// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the one environment of all tests: each has a namespace of its own.
var env *cluster.Cluster

func TestMain(m *testing.M) {
	before := func(_ context.Context, c *cluster.Cluster) error {
		env = c
		return nil
	}
	after := func(ctx context.Context, _ *cluster.Cluster) error { return told(ctx) }
	os.Exit(cluster.RunTests(m, before, after))
}
