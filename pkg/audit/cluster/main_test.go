// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// noImages returns an access to registries. The images of the tests begin with an exclamation mark,
// so that they are invalid and none is looked up.
func noImages(t testing.TB) *resolve.Mirrors {
	t.Helper()
	client := &registry.Client{}
	t.Cleanup(client.Close)
	return &resolve.Mirrors{Client: client, Next: &resolve.Registry{Client: client}}
}
