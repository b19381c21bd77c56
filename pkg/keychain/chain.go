// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"
	"slices"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Chain returns the credentials of several keychains. The zero value has none.
type Chain []Keychain

// Credentials returns the credentials of each keychain, in the order of the keychains.
func (c Chain) Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential {
	var all []Credential
	for _, k := range c {
		if creds := k.Credentials(ctx, r, fresh); len(all) == 0 {
			all = creds
		} else {
			// The slice may belong to a keychain, so append must copy it.
			all = append(slices.Clip(all), creds...)
		}
	}
	return all
}
