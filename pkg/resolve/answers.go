// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/registry"
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
	// failureBytes is how long the texts of remembered failures may be on average. Most are shorter,
	// and a registry can make its own four times as long.
	failureBytes = 512
)

// Answers is the memory of a Cache: digests, failures, and the lookups that are under way. The zero
// value is ready, and remembers up to cache.DefaultSize answers.
type Answers struct {
	// Panics reports panics in lookups. It must not change after the first request.
	Panics *panics.Reporter

	once    sync.Once
	secret  [sha256.Size]byte // of keys
	entries cache.Memory[cacheKey, entry]
	flights cache.Flights[cacheKey, Result]
	began   time.Time
	asked   atomic.Int64 // when the last question was asked, in nanoseconds since began
}

func (a *Answers) init() {
	a.once.Do(func() {
		_, _ = rand.Read(a.secret[:]) // never fails (crypto/rand)
		a.began = time.Now()
		a.entries.Bytes = cache.DefaultSize * failureBytes
		a.entries.Weigh = func(_ cacheKey, e entry) int { return e.failed.size() }
		a.entries.Owner = func(_ cacheKey, e entry) string { return e.namespace.Value() }
		a.flights.MaxAbandoned, a.flights.Timeout = maxAbandoned, lookupTimeout
		a.flights.Doing, a.flights.Panics = "looking up an image", a.Panics
		a.flights.IsOwn = func(err error) bool { return errors.Is(err, registry.ErrOfNamespace) }
	})
}

// Resize changes how many answers are remembered. As many as that allows are kept.
func (a *Answers) Resize(size int) {
	a.init()
	a.entries.Resize(size, size*failureBytes)
}

// Close cancels the lookups that are under way and waits for them. Later requests are unavailable.
func (a *Answers) Close() { a.flights.Close() }

// stamp returns the time of a new question to a registry, since Answers began. It is greater than
// 0, and than the time of every earlier question.
func (a *Answers) stamp() time.Duration {
	for {
		last := a.asked.Load()
		next := max(last+1, int64(time.Since(a.began)))
		if a.asked.CompareAndSwap(last, next) {
			return time.Duration(next)
		}
	}
}

// age returns the time since a question was asked or an answer came.
func (a *Answers) age(since time.Duration) time.Duration { return time.Since(a.began) - since }

// entry is the last answer, and the last digest. There may be 100,000 of them and more, so it is
// small. Times are since Answers began.
type entry struct {
	digest    [sha256.Size]byte
	asked     time.Duration         // when the digest was asked for; 0 if there was none
	failed    *failed               // nil if the last answer is the digest
	namespace unique.Handle[string] // that asked for it first, whose it is
}

// failed is an answer without a digest.
type failed struct {
	err   error
	asked time.Duration
	at    time.Duration // when it came
}

// size returns the length of the texts.
func (f *failed) size() int {
	if f == nil {
		return 0
	}
	return len(f.err.Error()) + len(failure.Cause(f.err))
}

// lastAsked returns when the last answer was asked for.
func (e *entry) lastAsked() time.Duration {
	if e.failed != nil {
		return e.failed.asked
	}
	return e.asked
}

// text returns the digest as text.
func (e *entry) text() digest.Digest {
	const prefix = string(digest.SHA256) + ":"
	var text [len(prefix) + 2*sha256.Size]byte
	hex.Encode(text[copy(text[:], prefix):], e.digest[:])
	return digest.Digest(text[:])
}

// remember stores the answer to the question that was asked at a time, unless that to a later one
// is known.
func (a *Answers) remember(
	key cacheKey, namespace string, asked time.Duration, d digest.Digest, err error,
) {
	answer := entry{namespace: unique.Make(namespace)}
	if err == nil {
		answer.asked = asked
		_, _ = hex.Decode(answer.digest[:], []byte(d.Encoded())) // a Result has a valid sha256
	} else {
		answer.failed = &failed{kept(err), asked, time.Since(a.began)}
	}
	a.entries.Update(key, 0, func(known entry, ok bool) (entry, bool) {
		if ok {
			answer.namespace = known.namespace
		}
		switch {
		case ok && known.lastAsked() > asked:
			return known, true
		case errors.Is(err, failure.Unavailable): // this does not contradict the last digest
			answer.digest, answer.asked = known.digest, known.asked
		}
		return answer, true
	})
}

// kept returns what is remembered of an error: its texts, its class, and whether the registry was
// not asked, which Mirrors has to know. The error itself may hold much more.
func kept(err error) error {
	k := &markedError{err.Error(), []error{failure.Of(err)}}
	if errors.Is(err, registry.ErrAddress) {
		k.is = append(k.is, registry.ErrAddress)
	}
	if cause := failure.Cause(err); cause != k.text {
		return failure.WithCause(k, cause)
	}
	return k
}

// cacheKey is a keyed hash of what an answer belongs to: the canonical reference, the settings of
// its registry, and the credentials in their order. So no credential is in memory as a key or can
// be guessed from one, and all keys have the same size. 16 bytes of the hash are enough, since a
// tenant that doesn't know the secret can't look for two questions with the same key.
type cacheKey [16]byte

// key hashes each part with its length before it. It copies one part at a time, since 16
// credentials may have 64 KiB.
func (a *Answers) key(req Request, settings string) cacheKey {
	h := sha256.New()
	part := make([]byte, 0, 256) // few parts are longer
	add := func(s string) {
		part = append(binary.AppendUvarint(part[:0], uint64(len(s))), s...)
		_, _ = h.Write(part) // never fails (package hash)
	}
	_, _ = h.Write(a.secret[:])
	r := &req.Ref
	for _, s := range [...]string{
		r.Host(), r.Path(), r.Tag(), string(r.Digest()), settings, req.Route.API, req.Route.Source,
	} {
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
