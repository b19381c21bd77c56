// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/panics"
)

// Defaults of Answers and Limits.
const (
	DefaultSize          = 10000
	DefaultTTL           = 30 * time.Second
	DefaultNegativeTTL   = 5 * time.Second
	DefaultStaleFor      = time.Hour
	DefaultLookupTimeout = 30 * time.Second
)

// Answers remembers digests and failures, and the look-ups that are under way. An answer belongs to a
// canonical reference and the credentials that it was looked up with, so that a digest is never told to
// a caller that lacks the credential. A look-up outlives the caller that started it. The zero value is
// ready; the exported fields must not change after the first request.
type Answers struct {
	Limits Limits // how long answers hold; Set changes it
	// LookupTimeout bounds a look-up that may outlive its callers. 0: DefaultLookupTimeout.
	LookupTimeout time.Duration
	// Panics is told of panics in look-ups.
	Panics *panics.Reporter

	once    sync.Once
	keys    keys
	began   time.Time // all times of entries are since then
	entries cache.Memory[cacheKey, entry]
	flights cache.Flights[cacheKey, Result]

	questions atomic.Uint64 // how many have been asked

	mu     sync.Mutex
	limits Limits
}

// question is one that a registry is asked: its number, by which questions are in order, and its time.
type question struct {
	number uint64
	at     time.Duration
}

func (a *Answers) ask() question { return question{a.questions.Add(1), a.now()} }

// Limits say how many answers are remembered, and for how long they hold. A zero field has its default.
type Limits struct {
	Size        int           // entries; 0: DefaultSize
	TTL         time.Duration // greatest age for a request that is neither Fresh nor First; 0: DefaultTTL
	NegativeTTL time.Duration // the same for failures; 0: DefaultNegativeTTL
	StaleFor    time.Duration // the same while the registry can't be reached; 0: DefaultStaleFor
}

// maxOrphans bounds the look-ups that go on when their callers have their answers: each needs about
// 10 KiB for up to DefaultLookupTimeout.
const maxOrphans = 512

func (l Limits) withDefaults() Limits {
	return Limits{
		Size:        orDefault(l.Size, DefaultSize),
		TTL:         orDefault(l.TTL, DefaultTTL),
		NegativeTTL: orDefault(l.NegativeTTL, DefaultNegativeTTL),
		StaleFor:    orDefault(l.StaleFor, DefaultStaleFor),
	}
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

func (a *Answers) init() {
	a.once.Do(func() {
		a.began = time.Now()
		a.keys.init()
		a.limits = a.Limits.withDefaults()
		a.entries.Size = a.limits.Size
		a.entries.Owner = func(_ cacheKey, e entry) string { return e.namespace }
		a.flights.MaxAbandoned = maxOrphans
		a.flights.Timeout = orDefault(a.LookupTimeout, DefaultLookupTimeout)
		a.flights.Doing, a.flights.Panics = "looking up an image", a.Panics
	})
}

// Set changes the limits. What is remembered stays, as far as there is room.
func (a *Answers) Set(l Limits) {
	a.init()
	l = l.withDefaults()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = l
	a.entries.Resize(l.Size)
}

func (a *Answers) now() time.Duration { return time.Since(a.began) }

func (a *Answers) current() Limits {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.limits
}

// stale is the last good answer if the registry can't be reached and the answer is not too old, else
// err.
func (a *Answers) stale(known *entry, limits Limits, err error) (Result, error) {
	if !errors.Is(err, failure.Unavailable) || !known.good || a.now()-known.at >= limits.StaleFor {
		return Result{}, err
	}
	return known.result(true), nil
}

// remember puts an answer to a question into the entry of key.
func (a *Answers) remember(key cacheKey, namespace string, q question, result Result, err error) {
	fresh := entry{namespace: strings.Clone(namespace), question: q.number}
	switch {
	case err != nil:
		fresh.err, fresh.errAt = flat(err), a.now()
	case !fresh.set(result.Digest, q.at):
		return // there are no others
	}
	a.entries.Update(key, 0, func(known entry, ok bool) (entry, bool) {
		if ok && known.namespace != namespace {
			fresh.namespace = "" // more than one has use for it
		}
		switch {
		case ok && known.question > q.number: // the answer to a later question came first
			known.namespace = fresh.namespace
			return known, true
		case err != nil && errors.Is(err, failure.Unavailable): // a registry that can't be reached takes nothing back
			fresh.good, fresh.at, fresh.digest = known.good, known.at, known.digest
		}
		return fresh, true
	})
}

// Len is the number of entries.
func (a *Answers) Len() int {
	a.init()
	return a.entries.Len()
}

// Close cancels the look-ups that are under way and waits for them. Later requests are unavailable.
func (a *Answers) Close() {
	a.init()
	a.flights.Close()
}
