// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the environment of all tests. Each has its own namespaces.
var env *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Tests{After: leaked}.Run(m, &env)) }
