// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
)

// cacheKey is a keyed hash of what an entry belongs to: a canonical reference, and the ordered
// credentials. So no credential is in memory as a key, nor can be guessed from one, and each key has
// one size, whatever an author writes.
type cacheKey [sha256.Size]byte

// entry is the last answer, and the last good one. It is kept small: there are as many as the config
// says. Times are since the cache began.
type entry struct {
	digest    [sha256.Size]byte
	good      bool          // there is a digest
	at        time.Duration // when the digest was asked for
	err       error         // nil: the last answer is the digest
	errAt     time.Duration // when err came
	question  uint64        // that the last answer is to: later ones have greater numbers
	namespace string        // that asked for it; empty where several have
}

// prefix is what a digest of an entry begins with.
const prefix = "sha256:"

// set makes a digest the good answer. It returns false if that is not a sha256.
func (e *entry) set(d digest.Digest, at time.Duration) bool {
	encoded, ok := strings.CutPrefix(string(d), prefix)
	sum, err := hex.DecodeString(encoded)
	if !ok || err != nil || len(sum) != len(e.digest) {
		return false
	}
	e.good, e.at = true, at
	copy(e.digest[:], sum)
	return true
}

func (e *entry) result(stale bool) Result {
	var text [len(prefix) + 2*sha256.Size]byte // go-digest's own way has five allocations
	hex.Encode(text[copy(text[:], prefix):], e.digest[:])
	return Result{Digest: digest.Digest(text[:]), Cached: true, Stale: stale}
}

// flat is what of an error is remembered: its class and its text.
func flat(err error) error {
	return failure.New(failure.Of(err), errors.New(err.Error()))
}

// keys makes the keys of one cache.
type keys struct{ secret [sha256.Size]byte }

func (k *keys) init() { _, _ = rand.Read(k.secret[:]) } // never fails (crypto/rand)

// of hashes what stands in the request and the settings, each part with its length before it. It
// holds a copy of one part at a time: 16 credentials may have 256 KiB.
func (k *keys) of(req Request, settings string) cacheKey {
	h := sha256.New()
	part := make([]byte, 0, 256) // most have no more
	add := func(s string) {
		part = append(binary.AppendUvarint(part[:0], uint64(len(s))), s...)
		_, _ = h.Write(part) // never fails (package hash)
	}
	_, _ = h.Write(k.secret[:])
	r := &req.Ref
	for _, s := range [...]string{r.Host(), r.Path(), r.Tag(), string(r.Digest()), settings} {
		add(s)
	}
	for _, cand := range req.Credentials {
		a, whose := cand.Auth, "own"
		switch {
		case cand.Shared:
			whose = "shared"
		case cand.Unread:
			whose = "unread"
		}
		for _, s := range [...]string{whose, a.Username, a.Password, a.Auth, a.IdentityToken, a.RegistryToken} {
			add(s)
		}
	}
	return cacheKey(h.Sum(part[:0]))
}
