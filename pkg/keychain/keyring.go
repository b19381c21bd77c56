// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"cmp"
	"hash/maphash"
	"net"
	"net/url"
	"path"
	"slices"
	"sort"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Docker Hub goes by two names: references are docker.io's, and what docker login writes is index.docker.io's.
const (
	hubHost  = "docker.io"
	hubIndex = "index.docker.io"
)

// Bounds of what a tenant writes.
const (
	// maxEntries are those of one config that are read: a secret of 1 MiB has room for 100,000.
	maxEntries = 1024
	// maxKey bounds a key: a scheme, a host with its port, or globs for them, and a path, each of which has a greatest length.
	maxKey = 1024
	// maxGlobs bounds the entries with globs that one look-up compares, over all configs.
	maxGlobs = 1024
	// maxCompared bounds the entries and paths that one look-up compares, over all configs. Nobody
	// has so many for one host.
	maxCompared = 4096
	// MaxCandidates bounds the credentials that are tried for one look-up: each may cost a login.
	MaxCandidates = 16
	// maxLabel bounds a label that a glob is compared with (RFC 1035, section 2.3.4), and a glob.
	maxLabel = 63
)

// entrySize is about what an entry takes without its texts: a string header for each of its fields, and what each text's
// own memory is rounded up by.
const entrySize = 16 * 16

// globsSize is about what a keyring with globs takes to remember which of them are for a host,
// without the two bytes for each.
const globsSize = 512

// Keyring is what one Docker config or pull secret holds. The zero value and nil are empty. It never changes, and is
// safe for concurrent use.
type Keyring struct {
	// entries begin with those with globs. They are in the order of their hosts and ports, and
	// those of one host from the last path to the first.
	entries   []entry
	globs     int // entries with globs
	malformed int
	last      atomic.Pointer[globbed] // for the host that was looked up last
}

// globbed are the entries with globs that are for a host: where the run of each path begins.
type globbed struct {
	host, port string
	runs       []uint16
}

// entry is one key with its credential, taken apart beforehand so that a match allocates nothing.
type entry struct {
	key        string // host and path, as the kubelet's index spells it
	host, port string // the host may hold globs, each within one label
	path       string // after the slash: a raw prefix of the repository (team matches teammate too)
	glob       bool
	run        int // entries with the same host and path from this one on
	auth       authn.AuthConfig
	sum        uint64 // of auth: two that differ are told apart at once, however long they are
}

var sumSeed = maphash.MakeSeed()

// sameKey reports whether two entries are for the same host and path.
func (e *entry) sameKey(other *entry) bool {
	return e.host == other.host && e.port == other.port && e.path == other.path &&
		e.glob == other.glob
}

// same reports whether two entries hold the same credential.
func (e *entry) same(other *entry) bool { return e.sum == other.sum && e.auth == other.auth }

// Malformed counts the entries that could not be read: they lose only themselves.
func (k *Keyring) Malformed() int {
	if k == nil {
		return 0
	}
	return k.malformed
}

// Len counts the entries that could be read.
func (k *Keyring) Len() int {
	if k == nil {
		return 0
	}
	return len(k.entries)
}

// Size is about how many bytes the keyring holds: what is remembered of tenants' secrets has a bound.
func (k *Keyring) Size() int {
	if k == nil {
		return 0
	}
	n := entrySize * len(k.entries)
	if k.globs > 0 {
		n += globsSize + 2*k.globs
	}
	for i := range k.entries {
		e := &k.entries[i]
		n += len(e.key) + Size(e.auth)
	}
	return n
}

// Lookup returns the credentials that the rings hold for r, in the kubelet's order: the keys of all
// rings from the last to the first in lexical order, so that a longer path comes before a shorter
// one, and those of one key in the order of the rings. What docker login writes for Docker Hub counts
// only if no other key matches. An entry without a credential, or with one that came before, is left
// out.
//
// At most MaxCandidates are returned; left is the number of entries that fit r too and come after
// them. Lookup costs one allocation if an entry fits, and otherwise none, but for globs that are
// compared with another host than before. If more than 4,096 entries fit, not all are considered.
func Lookup(r ref.Reference, rings ...*Keyring) (auths []authn.AuthConfig, left int) {
	host, port := splitPort(r.Host())
	var found candidates
	found.named(rings, host, port, r.Path())
	found.globbed(rings, host, port, r.Path())
	if !found.matched && r.Host() == hubHost {
		found.named(rings, hubIndex, "", "")
	}
	return found.auths(), found.left
}

// arrange puts the entries in order. Those with one key stay as they are.
func (k *Keyring) arrange() {
	slices.SortStableFunc(k.entries, func(a, b entry) int {
		if a.glob != b.glob {
			if a.glob {
				return -1
			}
			return 1
		}
		return cmp.Or(a.compareHost(b.host, b.port),
			strings.Compare(b.path, a.path), strings.Compare(b.key, a.key))
	})
	for i := len(k.entries) - 1; i >= 0; i-- {
		e := &k.entries[i]
		e.run = 1
		if i+1 < len(k.entries) && k.entries[i+1].sameKey(e) {
			e.run += k.entries[i+1].run
		}
		if e.glob {
			k.globs++
		}
	}
}

// named returns the entries that spell out a host.
func (k *Keyring) named(host, port string) []entry {
	if k == nil {
		return nil
	}
	named := k.entries[k.globs:]
	named = named[sort.Search(len(named), func(i int) bool {
		return named[i].compareHost(host, port) >= 0
	}):]
	return named[:sort.Search(len(named), func(i int) bool {
		return named[i].compareHost(host, port) > 0
	})]
}

// globbed returns where the runs of entries begin whose globs match a host. Most images of an
// object are on one host, and a comparison is slow: the last answer is remembered.
func (k *Keyring) globbed(host, port string) []uint16 {
	if last := k.last.Load(); last != nil && last.host == host && last.port == port {
		return last.runs
	}
	now := &globbed{host: strings.Clone(host), port: strings.Clone(port)}
	for i := 0; i < k.globs; i += k.entries[i].run {
		if k.entries[i].matches(host, port) {
			now.runs = append(now.runs, uint16(i)) //nolint:gosec // there are at most maxEntries
		}
	}
	k.last.Store(now)
	return now.runs
}

// newEntry takes a key apart: with or without scheme, host with globs, port, path. What is a host is net/url's to say, as
// it is for the kubelet, which also takes /v1/ and /v2/ for the registry itself, and no other path of an API.
//
// Of the key nothing is kept but host and path: the rest may be long, and would be kept with any part of it.
func newEntry(key string, auth authn.AuthConfig) (entry, bool) {
	if len(key) > maxKey {
		return entry{}, false
	}
	if !strings.HasPrefix(key, "https://") && !strings.HasPrefix(key, "http://") {
		key = "https://" + key
	}
	u, err := url.Parse(key)
	if err != nil || u.Host == "" {
		return entry{}, false
	}
	p := u.Path
	if strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/v2/") {
		p = p[len("/v1"):]
	}
	if p == "/" {
		p = ""
	}
	e := entry{key: strings.Clone(u.Host + p), auth: auth, glob: strings.ContainsAny(u.Host, `*?[\`)}
	e.sum = maphash.Comparable(sumSeed, auth)
	e.path = strings.TrimPrefix(e.key[len(u.Host):], "/")
	e.host, e.port = splitPort(e.key[:len(u.Host)])
	return e, true
}

// compareHost orders entries by host and port.
func (e *entry) compareHost(host, port string) int {
	return cmp.Or(strings.Compare(e.host, host), strings.Compare(e.port, port))
}

// matches reports whether the globs of an entry match a host: the ports are the same, and each
// label of the host matches its glob.
func (e *entry) matches(host, port string) bool {
	return e.port == port && strings.Count(e.host, ".") == strings.Count(host, ".") &&
		matchLabels(e.host, host)
}

// matchLabels compares label by label; a glob never spans a dot. An invalid glob matches nothing,
// and neither does one that is longer than a label, since comparing it could take long.
func matchLabels(glob, host string) bool {
	for more := true; more; {
		var label, want string
		want, glob, more = strings.Cut(glob, ".")
		label, host, _ = strings.Cut(host, ".")
		if max(len(label), len(want)) > maxLabel {
			return false
		}
		if ok, err := path.Match(want, label); err != nil || !ok {
			return false
		}
	}
	return true
}

// splitPort splits as the kubelet does, for whom what doesn't parse has no port.
func splitPort(hostport string) (host, port string) {
	if !strings.Contains(hostport, ":") {
		return hostport, "" // by far the most common: spare the error
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, ""
	}
	return host, port
}
