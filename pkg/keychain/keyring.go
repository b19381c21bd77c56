// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"hash/maphash"
	"net"
	"net/url"
	"path"
	"strings"

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
	maxGlobs = 4096
	// MaxCandidates bounds the credentials that are tried for one look-up: each may cost a login.
	MaxCandidates = 16
	// maxLabel bounds a label that a glob is compared with (RFC 1035, section 2.3.4).
	maxLabel = 63
)

// entrySize is about what an entry takes without its texts: a string header for each of its fields, and what each text's
// own memory is rounded up by.
const entrySize = 16 * 16

// Keyring is what one Docker config or pull secret holds. The zero value and nil are empty. It never changes, and is
// safe for concurrent use.
type Keyring struct {
	entries   []entry
	malformed int
}

// entry is one key with its credential, taken apart beforehand so that a match allocates nothing.
type entry struct {
	key        string // host and path, as the kubelet's index spells it
	host, port string // the host may hold globs, each within one label
	path       string // empty, or from the slash on
	glob       bool
	auth       authn.AuthConfig
	sum        uint64 // of auth: two that differ are told apart at once, however long they are
}

var sumSeed = maphash.MakeSeed()

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
// them. Lookup costs one allocation if an entry fits, and otherwise none. Its time is linear in the
// number of entries.
func Lookup(r ref.Reference, rings ...*Keyring) (auths []authn.AuthConfig, left int) {
	host, port := splitPort(r.Host())
	var found candidates
	found.collect(rings, func(e *entry) bool { return e.matches(host, port, r.Path()) })
	if !found.matched && r.Host() == hubHost {
		found.collect(rings, func(e *entry) bool { return e.key == hubIndex })
	}
	return found.auths(), found.left
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
	e.path = e.key[len(u.Host):]
	e.host, e.port = splitPort(e.key[:len(u.Host)])
	return e, true
}

// matches tells whether the entry is for the repository: the ports are the same, the path is a raw prefix (a rule of the
// kubelet's: team matches teammate too), and each label of the host matches its glob. repository has no leading slash.
func (e *entry) matches(host, port, repository string) bool {
	if e.port != port || strings.Count(e.host, ".") != strings.Count(host, ".") {
		return false
	}
	if e.path != "" && !strings.HasPrefix(repository, e.path[1:]) {
		return false
	}
	if !e.glob {
		return e.host == host
	}
	return matchLabels(e.host, host)
}

// matchLabels compares label by label; a glob never spans a dot. A glob that is none matches nothing.
func matchLabels(glob, host string) bool {
	for more := true; more; {
		var label, want string
		want, glob, more = strings.Cut(glob, ".")
		label, host, _ = strings.Cut(host, ".")
		if len(label) > maxLabel {
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
