// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"
)

// candidates are the entries that fit a reference, the best ones in order and each credential once.
type candidates struct {
	best    [MaxCandidates]*entry
	n       int
	matched bool // an entry fits, perhaps one without a credential
	left    int  // entries that fit, and come after best
}

// collect adds the entries of the rings for which match is true.
func (c *candidates) collect(rings []*Keyring, match func(*entry) bool) {
	globs := 0
	for _, ring := range rings {
		if ring == nil {
			continue
		}
		for i := range ring.entries {
			e := &ring.entries[i]
			if e.glob {
				if globs++; globs > maxGlobs {
					continue
				}
			}
			if match(e) {
				c.add(e)
			}
		}
	}
}

// add puts e in its place. Of two entries with equal keys the one that was added first comes first.
//
// An entry that is pushed out, or finds no place, comes after MaxCandidates other credentials, and
// those can only be replaced by better ones: it is safe to forget it.
func (c *candidates) add(e *entry) {
	c.matched = true
	if e.auth == (authn.AuthConfig{}) {
		return
	}
	best := c.best[:c.n]
	place := c.n
	for place > 0 && e.key > best[place-1].key {
		place--
	}
	switch before := slices.IndexFunc(best, e.same); {
	case before >= 0 && before < place: // the credential is there, and has a better key
	case before >= 0:
		copy(best[place+1:before+1], best[place:before])
		best[place] = e
	case c.n < MaxCandidates:
		c.n++
		copy(c.best[place+1:c.n], best[place:])
		c.best[place] = e
	default:
		c.left++
		if place < c.n {
			copy(best[place+1:], best[place:c.n-1])
			best[place] = e
		}
	}
}

func (c *candidates) auths() []authn.AuthConfig {
	if c.n == 0 {
		return nil
	}
	auths := make([]authn.AuthConfig, c.n)
	for i, e := range c.best[:c.n] {
		auths[i] = e.auth
	}
	return auths
}
