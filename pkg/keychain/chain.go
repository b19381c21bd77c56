// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"
	"slices"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Chain asks its keychains one after the other, and gives what all of them have. The zero value has nothing.
type Chain []Keychain

// Credentials gives those of all, in order.
func (c Chain) Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential {
	var all []Credential
	for _, k := range c {
		if creds := k.Credentials(ctx, r, fresh); len(all) == 0 {
			all = creds
		} else {
			all = append(slices.Clip(all), creds...) // it may be what the keychain remembers
		}
	}
	return all
}
