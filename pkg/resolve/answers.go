// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/panics"
)

// Defaults of the config.
const (
	DefaultSize        = 10000
	DefaultTTL         = 30 * time.Second
	DefaultNegativeTTL = 5 * time.Second
	DefaultStaleFor    = time.Hour
)

const (
	// lookupTimeout bounds a lookup. It is twice what a request may take by the config.
	lookupTimeout = time.Minute
	// maxAbandoned bounds the lookups that go on after their callers have left. Each needs about 10
	// KiB for up to lookupTimeout.
	maxAbandoned = 512
)

// Answers is the memory of a Cache: digests, failures, and the lookups that are under way. The zero
// value is ready, and remembers up to cache.DefaultSize answers.
type Answers struct {
	// Panics reports panics in lookups. It must not change after the first request.
	Panics *panics.Reporter

	once      sync.Once
	secret    [sha256.Size]byte // of keys
	entries   cache.Memory[cacheKey, entry]
	flights   cache.Flights[cacheKey, Result]
	questions atomic.Uint64 // the number of the last question
}

func (a *Answers) init() {
	a.once.Do(func() {
		_, _ = rand.Read(a.secret[:]) // never fails (crypto/rand)
		a.entries.Owner = func(_ cacheKey, e entry) string { return e.namespace }
		a.flights.MaxAbandoned, a.flights.Timeout = maxAbandoned, lookupTimeout
		a.flights.Doing, a.flights.Panics = "looking up an image", a.Panics
	})
}

// Resize changes how many answers are remembered. As many as that allows are kept.
func (a *Answers) Resize(size int) { a.entries.Resize(size) }

// Close cancels the lookups that are under way and waits for them. Later requests are unavailable.
func (a *Answers) Close() { a.flights.Close() }

// question is the number and the time of a question to a registry. A later question has a greater
// number.
type question struct {
	number uint64
	at     time.Time
}

func (a *Answers) ask() question { return question{a.questions.Add(1), time.Now()} }

// entry is the last answer, and the last digest.
type entry struct {
	digest    digest.Digest // "" if there was none
	at        time.Time     // when the digest was asked for
	err       error         // nil if the last answer is the digest
	errAt     time.Time     // when the failure came
	question  uint64        // of the last answer
	namespace string        // that has asked for it; empty if several have
}

// remember stores the answer to a question, unless that to a later question is known.
func (a *Answers) remember(key cacheKey, namespace string, q question, d digest.Digest, err error) {
	answer := entry{namespace: strings.Clone(namespace), question: q.number}
	if err == nil {
		answer.digest, answer.at = digest.Digest(strings.Clone(string(d))), q.at
	} else {
		// The text is enough; err may hold much more.
		answer.err, answer.errAt = failure.New(failure.Of(err), errors.New(err.Error())), time.Now()
	}
	a.entries.Update(key, 0, func(known entry, ok bool) (entry, bool) {
		if ok && known.namespace != namespace {
			answer.namespace = ""
		}
		switch {
		case ok && known.question > q.number:
			known.namespace = answer.namespace
			return known, true
		case errors.Is(err, failure.Unavailable): // this does not contradict the last digest
			answer.digest, answer.at = known.digest, known.at
		}
		return answer, true
	})
}

// cacheKey is a keyed hash of what an answer belongs to: the canonical reference, the settings of
// its registry, and the credentials in their order. So no credential is in memory as a key or can
// be guessed from one, and all keys have the same size.
type cacheKey [sha256.Size]byte

// key hashes each part with its length before it. It copies one part at a time, since 16
// credentials may have 256 KiB.
func (a *Answers) key(req Request, settings string) cacheKey {
	h := sha256.New()
	part := make([]byte, 0, 256) // few parts are longer
	add := func(s string) {
		part = append(binary.AppendUvarint(part[:0], uint64(len(s))), s...)
		_, _ = h.Write(part) // never fails (package hash)
	}
	_, _ = h.Write(a.secret[:])
	r := &req.Ref
	for _, s := range [...]string{r.Host(), r.Path(), r.Tag(), string(r.Digest()), settings} {
		add(s)
	}
	for _, c := range req.Credentials {
		kind := "own"
		switch {
		case c.Source != "": // all have it, or none
			add("source")
			add(c.Source)
			continue
		case c.Shared:
			kind = "shared"
		case c.Unread:
			kind = "unread"
		}
		for _, s := range [...]string{
			kind, c.Auth.Username, c.Auth.Password, c.Auth.Auth, c.Auth.IdentityToken, c.Auth.RegistryToken,
		} {
			add(s)
		}
	}
	return cacheKey(h.Sum(part[:0]))
}
