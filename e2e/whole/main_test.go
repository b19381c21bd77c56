// SPDX-License-Identifier: Apache-2.0

package whole

import (
	"os"
	"testing"

	"github.com/tagpin/tagpin/e2e/node"
)

// all has the node of all tests, or the reason why there is none. Each test has its own namespaces.
var all struct {
	node   *node.Node
	reason error
}

func TestMain(m *testing.M) {
	os.Exit(node.RunTests(m, func(n *node.Node, reason error) { all.node, all.reason = n, reason }))
}

// theNode returns the node. Tests that use it don't run in parallel, because some switch off the
// registry or tagpin.
func theNode(t *testing.T) *node.Node {
	t.Helper()
	if all.reason != nil {
		t.Skip(all.reason)
	}
	return all.node
}
