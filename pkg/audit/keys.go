// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// usedKeys is the Keychain of one lookup. It remembers which credentials the lookup has used: a
// secret may change meanwhile, and a failure says nothing about credentials that were not tried.
type usedKeys struct {
	next keychain.Keychain

	mu   sync.Mutex
	read map[string][]keychain.Credential // by repository
}

// Credentials implements keychain.Keychain. It reads the credentials for a repository only once,
// unless fresh is true.
func (u *usedKeys) Credentials(
	ctx context.Context, r ref.Reference, fresh bool,
) []keychain.Credential {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.read[r.Repository()]
	if ok && !fresh {
		return known
	}
	if u.read == nil {
		u.read = map[string][]keychain.Credential{}
	}
	u.read[r.Repository()] = u.next.Credentials(ctx, r, fresh)
	return u.read[r.Repository()]
}

// Explain says why there are no more credentials, if the next Keychain can.
func (u *usedKeys) Explain(r ref.Reference, all bool) []string {
	if next, ok := u.next.(interface {
		Explain(r ref.Reference, all bool) []string
	}); ok {
		return next.Explain(r, all)
	}
	return nil
}

// sum returns a hash of the credentials that were used last. u may be nil.
func (u *usedKeys) sum() (sum [sha256.Size]byte) {
	h := sha256.New()
	if u != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		for _, name := range slices.Sorted(maps.Keys(u.read)) {
			_, _ = fmt.Fprintf(h, "%q %#v\n", name, u.read[name]) // never fails
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}
