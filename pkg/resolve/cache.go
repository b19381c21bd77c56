// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// Defaults of Cache.
const (
	DefaultSize          = 10000
	DefaultTTL           = 30 * time.Second
	DefaultNegativeTTL   = 5 * time.Second
	DefaultStaleFor      = time.Hour
	DefaultLookupTimeout = 30 * time.Second
)

// Cache remembers answers, and makes one look-up of those that are asked for at once. An entry belongs to a canonical
// reference and the candidates that it was looked up with, so that a digest is never told to who has not the credential.
// A look-up outlives the caller that started it. The zero value with Next set is ready; its fields must not change after
// the first request.
//
// Its clock runs by request, not by goroutine: hashicorp's expirable.LRU starts one that can't be stopped.
type Cache struct {
	Next        Resolver
	Size        int           // entries; 0: DefaultSize
	TTL         time.Duration // how old an answer may be for a request that is not Fresh; 0: DefaultTTL
	NegativeTTL time.Duration // the same for failures; 0: DefaultNegativeTTL
	StaleFor    time.Duration // the same where the registry can't be reached; 0: DefaultStaleFor
	// LookupTimeout bounds a look-up that may outlive its callers; 0: DefaultLookupTimeout.
	LookupTimeout time.Duration

	once    sync.Once
	secret  [sha256.Size]byte
	entries *lru.Cache[cacheKey, entry]

	mu      sync.Mutex
	flights map[cacheKey]*flight
	wg      sync.WaitGroup
}

// cacheKey is what an entry belongs to. who is a keyed hash of the ordered candidates; zero for anonymous.
type cacheKey struct {
	canonical string
	who       [sha256.Size]byte
}

// entry is the last answer, and the last good one.
type entry struct {
	result Result
	at     time.Time // of result; zero: there has been none
	err    error
	errAt  time.Time
}

// flight is a look-up under way. Its fields are set when done is closed.
type flight struct {
	done   chan struct{}
	result Result
	err    error
}

func (c *Cache) init() {
	c.once.Do(func() {
		_, _ = rand.Read(c.secret[:]) // never fails (crypto/rand)
		c.entries, _ = lru.New[cacheKey, entry](orDefault(c.Size, DefaultSize))
		c.flights = map[cacheKey]*flight{}
	})
}

func orDefault[T int | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Resolve answers from memory what it may, and asks Next otherwise. A Fresh request is answered by Next alone, or joins a
// look-up in flight.
func (c *Cache) Resolve(ctx context.Context, req Request) (Result, error) {
	c.init()
	key := cacheKey{req.Ref.Canonical(), c.identity(req.Credentials)}
	known, ok := c.entries.Get(key)
	now := time.Now()
	if ok && !req.Fresh {
		switch {
		case known.err != nil && now.Sub(known.errAt) < orDefault(c.NegativeTTL, DefaultNegativeTTL):
			result, err := c.stale(known, now, known.err)
			result.Cached = true
			return result, err
		case known.err == nil && now.Sub(known.at) < orDefault(c.TTL, DefaultTTL):
			known.result.Cached = true
			return known.result, nil
		}
	}
	f := c.join(key, req)
	select {
	case <-f.done:
	case <-ctx.Done():
		err := &classified{ErrUnavailable, errors.New(req.Ref.Host() + ": no answer within the time allowed")}
		if req.Fresh {
			return Result{}, err
		}
		return c.stale(known, now, err)
	}
	if f.err != nil && !req.Fresh {
		return c.stale(known, now, f.err)
	}
	return f.result, f.err
}

// stale is the last good answer where the registry can't be reached and it is not too old, else err.
func (c *Cache) stale(known entry, now time.Time, err error) (Result, error) {
	if !errors.Is(err, ErrUnavailable) || known.at.IsZero() || now.Sub(known.at) >= orDefault(c.StaleFor, DefaultStaleFor) {
		return Result{}, err
	}
	known.result.Cached, known.result.Stale = true, true
	return known.result, nil
}

// join finds the look-up of key in flight, or starts one.
func (c *Cache) join(key cacheKey, req Request) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[key]; ok {
		return f
	}
	f := &flight{done: make(chan struct{})}
	c.flights[key] = f
	c.wg.Go(func() { c.fly(key, req, f) })
	return f
}

// fly looks up, apart from any caller's context, and remembers the answer.
func (c *Cache) fly(key cacheKey, req Request, f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), orDefault(c.LookupTimeout, DefaultLookupTimeout))
	defer cancel()
	f.result, f.err = c.Next.Resolve(ctx, req)
	c.remember(key, f)
	c.mu.Lock()
	delete(c.flights, key)
	c.mu.Unlock()
	close(f.done)
}

func (c *Cache) remember(key cacheKey, f *flight) {
	if errors.Is(f.err, errBusy) {
		return
	}
	now := time.Now()
	if f.err == nil {
		c.entries.Add(key, entry{result: f.result, at: now})
		return
	}
	e := entry{err: f.err, errAt: now}
	if errors.Is(f.err, ErrUnavailable) { // a registry that can't be reached takes nothing back
		before, _ := c.entries.Peek(key)
		e.result, e.at = before.result, before.at
	}
	c.entries.Add(key, e)
}

// identity is a keyed hash of the candidates, so that no credential is a key in memory, nor can be guessed from one.
func (c *Cache) identity(candidates []keychain.Credential) (sum [sha256.Size]byte) {
	if len(candidates) == 0 {
		return sum
	}
	h := hmac.New(sha256.New, c.secret[:])
	var size [4]byte
	for _, cand := range candidates {
		a := cand.Auth
		shared := "own"
		if cand.Shared {
			shared = "shared"
		}
		for _, s := range [...]string{shared, a.Username, a.Password, a.Auth, a.IdentityToken, a.RegistryToken} {
			binary.BigEndian.PutUint32(size[:], uint32(len(s))) //nolint:gosec // a secret is at most 1 MiB
			h.Write(size[:])
			h.Write([]byte(s))
		}
	}
	h.Sum(sum[:0])
	return sum
}

// Len is the number of entries.
func (c *Cache) Len() int {
	c.init()
	return c.entries.Len()
}

// Wait returns when no look-up is in flight; no request may come meanwhile.
func (c *Cache) Wait() { c.wg.Wait() }
