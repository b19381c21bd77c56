// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"context"
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the one environment of all tests.
var env *cluster.Cluster

func TestMain(m *testing.M) {
	before := func(_ context.Context, c *cluster.Cluster) error {
		env = c
		return nil
	}
	after := func(context.Context, *cluster.Cluster) error { return nil }
	os.Exit(cluster.RunTests(m, before, after))
}
