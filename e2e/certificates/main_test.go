// SPDX-License-Identifier: Apache-2.0

package certificates

import (
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/cluster"
)

// env is the environment of all tests.
var env *cluster.Cluster

func TestMain(m *testing.M) { os.Exit(cluster.Tests{}.Run(m, &env)) }
