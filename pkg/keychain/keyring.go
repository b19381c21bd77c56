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

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Docker Hub has two names: references have docker.io, and docker login writes index.docker.io.
const (
	hubHost  = "docker.io"
	hubIndex = "index.docker.io"
)

// Limits for what a tenant writes.
const (
	// maxEntries is the number of entries of one config that are read. A secret of 1 MiB has room for
	// 100,000.
	maxEntries = 1024
	// maxKey is the maximum length of a key. A key has a scheme, a host and port or globs for them,
	// and a path, each of which has a maximum length.
	maxKey = 1024
	// maxGlobSteps is the work that one lookup puts into comparing globs, in the steps of
	// entry.matches: about 0.1 ms. Entries that come later don't count. There are steps for hundreds
	// of entries such as *.dkr.ecr.*.amazonaws.com.
	maxGlobSteps = 64 << 10
	// maxCompared is the maximum number of entries and paths that one lookup compares in all configs.
	// Nobody needs that many for one host.
	maxCompared = 4096
	// MaxCandidates is the maximum number of credentials that are tried for one reference, because
	// each may cost a login.
	MaxCandidates = 16
	// maxCandidateBytes is the maximum size of these together, as Size returns it: that of 16 of the
	// largest known ones. They are hashed for each lookup (package resolve).
	maxCandidateBytes = 64 << 10
	// maxLabel is the maximum length of a label of a host (RFC 1035, section 2.3.4), and of a glob for
	// one.
	maxLabel = 63
)

// entrySize is the approximate size of an entry without its texts: a string header for each of its
// fields, and the rounding of each text's allocation.
const entrySize = 16 * 16

// Keyring is the content of a Docker config or a pull secret. The zero value and nil are empty. It
// does not change, and is safe for concurrent use.
type Keyring struct {
	// Malformed is the number of entries that could not be read. The other entries are used.
	Malformed int

	// named are the entries without globs, in the order of hosts and ports. Those of one host are in
	// descending order of paths.
	named []entry
	globs []entry // the entries with globs
}

// entry is a key with its credential. The key is parsed in advance, so that a match allocates
// nothing.
type entry struct {
	key        string // host and path, as in the kubelet's index
	host, port string // the host may have globs, each within one label
	path       string // after the slash: a prefix of the repository (team also matches teammate)
	auth       authn.AuthConfig
	sum        uint64 // a hash of auth, so that comparing different credentials is fast
}

// sumSeed is the seed of the hashes in entries.
var sumSeed = maphash.MakeSeed()

// sameCredential reports whether two entries have the same credential.
func (e *entry) sameCredential(other *entry) bool {
	return e.sum == other.sum && e.auth == other.auth
}

// Size returns the approximate size of the keyring in bytes.
func (k *Keyring) Size() (n int) {
	if k == nil {
		return 0
	}
	for _, entries := range [...][]entry{k.named, k.globs} {
		for i := range entries {
			n += entrySize + len(entries[i].key) + Size(entries[i].auth)
		}
	}
	return n
}

// Lookup returns the credentials of the keyrings for r, in the kubelet's order: the keys of all
// keyrings in descending order, so that a longer path comes before a shorter one, and those of one
// key in the order of the keyrings. The key that docker login writes for Docker Hub counts only if
// no other key matches. Entries without a credential, and repeated credentials, are left out.
//
// Lookup returns at most MaxCandidates credentials, of 64 KiB together. left is the number of
// entries that also match r and come after them. If more than 4,096 entries match, or globs need
// too many comparisons, Lookup does not consider all of them. It makes one allocation if an entry
// matches, and otherwise none.
func Lookup(r ref.Reference, rings ...*Keyring) (auths []authn.AuthConfig, left int) {
	host, port := splitPort(r.Host())
	var found candidates
	found.named(rings, host, port, r.Path())
	found.globbed(rings, host, port, r.Path())
	if !found.matched && r.Host() == hubHost {
		found.named(rings, hubIndex, "", "")
	}
	auths = found.auths()
	return auths, found.left
}

// add adds an entry.
func (k *Keyring) add(e entry) {
	if strings.ContainsAny(e.host, `*?[\`) {
		k.globs = append(k.globs, e)
	} else {
		k.named = append(k.named, e)
	}
}

// sort sorts the entries without globs. Entries with equal keys keep their order.
func (k *Keyring) sort() {
	slices.SortStableFunc(k.named, func(a, b entry) int {
		return cmp.Or(a.compareHost(b.host, b.port),
			strings.Compare(b.path, a.path), strings.Compare(b.key, a.key))
	})
}

// ofHost returns the entries without globs that match a host.
func (k *Keyring) ofHost(host, port string) []entry {
	named := k.named[sort.Search(len(k.named), func(i int) bool {
		return k.named[i].compareHost(host, port) >= 0
	}):]
	return named[:sort.Search(len(named), func(i int) bool {
		return named[i].compareHost(host, port) > 0
	})]
}

// newEntry parses a key, which has a host and may have a scheme, globs, a port and a path. Like the
// kubelet, it parses the host with net/url, and takes /v1/ and /v2/ for the registry itself, but no
// other path of an API.
//
// The entry keeps copies of the host and the path. A substring would keep the whole key in memory.
func newEntry(key string, auth authn.AuthConfig) (e entry, ok bool) {
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
	e = entry{key: strings.Clone(u.Host + p), auth: auth, sum: maphash.Comparable(sumSeed, auth)}
	e.path = strings.TrimPrefix(e.key[len(u.Host):], "/")
	e.host, e.port = splitPort(e.key[:len(u.Host)])
	return e, true
}

// compareHost orders entries by host and port.
func (e *entry) compareHost(host, port string) int {
	return cmp.Or(strings.Compare(e.host, host), strings.Compare(e.port, port))
}

// matches reports whether the globs of an entry match a host: the ports are the same, and each
// label of the host matches its glob. steps is the work: one for each character of the entry's
// host, and for each pair of characters in a glob and a label that were compared.
func (e *entry) matches(host, port string) (ok bool, steps int) {
	steps = len(e.host)
	if e.port != port || strings.Count(e.host, ".") != strings.Count(host, ".") {
		return false, steps
	}
	ok, compared := matchLabels(e.host, host)
	return ok, steps + compared
}

// matchLabels compares each label with its glob; a glob never spans a dot. An invalid glob matches
// nothing. A glob that is longer than a label matches nothing either, because the comparison could
// be slow. Even one that is not longer can make path.Match compare each of its characters with each
// of the label.
func matchLabels(glob, host string) (ok bool, steps int) {
	for more := true; more; {
		var label, want string
		want, glob, more = strings.Cut(glob, ".")
		label, host, _ = strings.Cut(host, ".")
		if max(len(label), len(want)) > maxLabel {
			return false, steps
		}
		steps += len(want) * len(label)
		if ok, err := path.Match(want, label); err != nil || !ok {
			return false, steps
		}
	}
	return true, steps
}

// splitPort splits a host and a port. Like the kubelet, it takes a text that is invalid for a host.
func splitPort(hostport string) (host, port string) {
	if !strings.Contains(hostport, ":") {
		return hostport, "" // the usual case, without the cost of an error
	}
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return hostport, ""
	}
	return host, port
}
