// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"slices"
	"sort"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

// candidates collects the entries that match a reference. It keeps the best ones in order, and each
// credential once.
type candidates struct {
	best     [MaxCandidates]*entry
	n        int  // entries in best
	matched  bool // an entry matches, perhaps one without a credential
	left     int  // entries that match and come after best
	compared int  // entries and paths that were compared
}

// named adds the entries without globs that match a host and a repository.
func (c *candidates) named(rings []*Keyring, host, port, repository string) {
	for _, ring := range rings {
		if ring != nil {
			c.paths(ring.ofHost(host, port), repository)
		}
	}
}

// paths adds the entries whose path is a prefix of the repository, from the longest path to the
// shortest. The entries have one host, and their paths are in descending order. If the next path is
// not a prefix of the repository, then every later prefix is also a prefix of what the two have in
// common.
func (c *candidates) paths(entries []entry, repository string) {
	for rest := repository; c.compared < maxCompared; c.compared++ {
		entries = entries[sort.Search(len(entries), func(i int) bool {
			return entries[i].path <= rest
		}):]
		if len(entries) == 0 {
			return
		}
		path := entries[0].path
		n := common(path, rest)
		if n < len(path) {
			rest = rest[:n]
			continue
		}
		for len(entries) > 0 && entries[0].path == path && c.compared < maxCompared {
			c.add(&entries[0])
			entries = entries[1:]
			c.compared++
		}
		if n == 0 {
			return
		}
		rest = rest[:n-1]
	}
}

// common returns the length of the longest common prefix of two texts.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// globbed adds the entries with globs that match a host and a repository.
func (c *candidates) globbed(rings []*Keyring, host, port, repository string) {
	left := maxGlobSteps
	for _, ring := range rings {
		if ring == nil {
			continue
		}
		for i := range ring.globs {
			e := &ring.globs[i]
			ok, steps := e.matches(host, port)
			if ok && strings.HasPrefix(repository, e.path) {
				c.add(e)
			}
			if left -= steps; left <= 0 {
				return
			}
		}
	}
}

// add inserts an entry into best, in the order of the keys. Of two entries with equal keys, the one
// that was added first comes first.
//
// An entry that does not fit into best, or is pushed out, can be forgotten: MaxCandidates other
// credentials come before it, and they are only ever replaced by better ones.
func (c *candidates) add(e *entry) {
	c.matched = true
	if e.auth == (authn.AuthConfig{}) {
		return
	}
	best, i := c.best[:c.n], c.n
	for i > 0 && e.key > best[i-1].key {
		i--
	}
	switch old := slices.IndexFunc(best, e.sameCredential); {
	case old >= 0 && old < i: // best has the credential already, with a better key
		return
	case old >= 0:
		best = slices.Delete(best, old, old+1)
	case len(best) == MaxCandidates:
		c.left++
		if i == MaxCandidates {
			return
		}
		best = best[:MaxCandidates-1]
	}
	c.n = len(slices.Insert(best, i, e)) // in place
}

// auths returns the credentials of the best entries, as many as may be tried. It counts the others.
func (c *candidates) auths() []authn.AuthConfig {
	n := 0
	for bytes := 0; n < c.n; n++ {
		if bytes += Size(c.best[n].auth); bytes > maxCandidateBytes {
			break
		}
	}
	c.left += c.n - n
	if n == 0 {
		return nil
	}
	auths := make([]authn.AuthConfig, n)
	for i, e := range c.best[:n] {
		auths[i] = e.auth
	}
	return auths
}
