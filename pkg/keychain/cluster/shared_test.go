// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// sharedBy is one Keychain for all namespaces.
func sharedBy(k keychain.Keychain) func(string) keychain.Keychain {
	return func(string) keychain.Keychain { return k }
}

// What is shared is asked for by the namespace of the pod, and what it could not read is not left
// out.
func TestSharedByNamespace(t *testing.T) {
	var asked []string
	c := &cluster.Cluster{Shared: func(namespace string) keychain.Keychain {
		asked = append(asked, namespace)
		return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
			return []keychain.Credential{{Unread: true}}
		})
	}}
	defer c.Close()
	got := c.For("team", workload.Identity{}).Credentials(t.Context(), image, false)
	if !slices.Equal(got, []keychain.Credential{{Unread: true}}) {
		t.Errorf("Credentials = %v, want one that is unread", got)
	}
	if diff := cmp.Diff([]string{"team"}, asked); diff != "" {
		t.Errorf("asked by -want +got\n%s", diff)
	}
}
