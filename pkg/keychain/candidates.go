// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"slices"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// candidates are the entries that fit a reference, the best ones in order and each credential once.
type candidates struct {
	best     [MaxCandidates]*entry
	n        int
	matched  bool // an entry fits, perhaps one without a credential
	left     int  // entries that fit, and come after best
	compared int  // entries and paths
}

// named adds the entries that spell out a host and are for a repository.
func (c *candidates) named(rings []*Keyring, host, port, repository string) {
	for _, ring := range rings {
		c.paths(ring.named(host, port), repository)
	}
}

// paths adds those of the entries of one host whose path is a prefix of the repository, from the
// longest to the shortest. If the next path in order is not a prefix, all further prefixes are
// within what it has in common with the repository.
func (c *candidates) paths(entries []entry, repository string) {
	for rest := repository; c.compared < maxCompared; c.compared++ {
		entries = entries[sort.Search(len(entries), func(i int) bool {
			return entries[i].path <= rest
		}):]
		if len(entries) == 0 {
			return
		}
		e := &entries[0]
		n := common(e.path, rest)
		if n < len(e.path) {
			rest = rest[:n]
			continue
		}
		c.addRun(entries[:e.run])
		if n == 0 {
			return
		}
		rest = rest[:n-1]
	}
}

// common returns the length of the longest common prefix.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// globbed adds the entries whose globs match a host and that are for a repository.
func (c *candidates) globbed(rings []*Keyring, host, port, repository string) {
	left := maxGlobs
	for _, ring := range rings {
		if ring == nil || min(ring.globs, left) == 0 {
			continue
		}
		globs := ring.entries[:min(ring.globs, left)]
		left -= len(globs)
		for _, first := range ring.globbed(host, port) {
			if int(first) >= len(globs) {
				break
			}
			if e := &globs[first]; strings.HasPrefix(repository, e.path) {
				c.addRun(globs[first:min(int(first)+e.run, len(globs))])
			}
		}
	}
}

// addRun adds entries with one host and path.
func (c *candidates) addRun(run []entry) {
	for i := 0; i < len(run) && c.compared < maxCompared; i++ {
		c.add(&run[i])
		c.compared++
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
