// SPDX-License-Identifier: Apache-2.0

package keychain_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// fixed returns a Keychain that always returns the same credentials.
func fixed(creds []keychain.Credential) keychain.Keychain {
	return keychain.Func(func(context.Context, ref.Reference, bool) []keychain.Credential {
		return creds
	})
}

func TestChain(t *testing.T) {
	r := ref.MustParse("ghcr.io/a/b")
	chain := keychain.Chain{
		fixed(credentials("a")), keychain.Chain{}, fixed(credentials("b", "c")),
	}
	got := chain.Credentials(t.Context(), r, false)
	if diff := cmp.Diff(credentials("a", "b", "c"), got); diff != "" {
		t.Errorf("Chain: -want +got\n%s", diff)
	}
	if got := (keychain.Chain{}).Credentials(t.Context(), r, false); got != nil {
		t.Errorf("empty Chain: Credentials = %v, want nil", got)
	}
}

// TestChainCopies checks that a Chain does not write to a slice of one of its keychains.
func TestChainCopies(t *testing.T) {
	remembered := make([]keychain.Credential, 1, 4)
	remembered[0] = credentials("a")[0]
	chain := keychain.Chain{fixed(remembered), fixed(credentials("b"))}
	chain.Credentials(t.Context(), ref.MustParse("a"), false)
	if got := remembered[:2][1]; got != (keychain.Credential{}) {
		t.Errorf("after the keychain's own credentials, its slice has %v, want the zero value", got)
	}
}
