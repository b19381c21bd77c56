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

// sharedBy returns one Keychain for all namespaces.
func sharedBy(k keychain.Keychain) func(string) keychain.Keychain {
	return func(string) keychain.Keychain { return k }
}

// sharedUsers returns shared credentials of some users for all namespaces.
func sharedUsers(users ...string) func(string) keychain.Keychain {
	creds := make([]keychain.Credential, len(users))
	for i, user := range users {
		creds[i].Auth.Username, creds[i].Shared = user, true
	}
	return sharedBy(keychain.Func(
		func(context.Context, ref.Reference, bool) []keychain.Credential { return creds },
	))
}

// TestSharedByNamespace checks that Shared gets the namespace of the pod, and that a mark of the
// shared Keychain is returned.
func TestSharedByNamespace(t *testing.T) {
	var namespaces []string
	c := &cluster.Cluster{Shared: func(namespace string) keychain.Keychain {
		namespaces = append(namespaces, namespace)
		return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
			return []keychain.Credential{{Unread: true}}
		})
	}}
	defer c.Close()
	got := c.For("team", workload.Identity{}).Credentials(t.Context(), image, false)
	if !slices.Equal(got, []keychain.Credential{{Unread: true}}) {
		t.Errorf("Credentials = %v, want one that is marked as unread", got)
	}
	if diff := cmp.Diff([]string{"team"}, namespaces); diff != "" {
		t.Errorf("namespaces: -want +got\n%s", diff)
	}
}
