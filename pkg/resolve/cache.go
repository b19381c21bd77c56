// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/span"
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
	TTL         time.Duration // how old an answer may be for a request that is neither Fresh nor First; 0: DefaultTTL
	NegativeTTL time.Duration // the same for failures; 0: DefaultNegativeTTL
	StaleFor    time.Duration // the same where the registry can't be reached; 0: DefaultStaleFor
	// LookupTimeout bounds a look-up that may outlive its callers; 0: DefaultLookupTimeout.
	LookupTimeout time.Duration

	once    sync.Once
	secret  [sha256.Size]byte
	began   time.Time // all times of entries are since then
	entries *lru.Cache[cacheKey, entry]

	mu      sync.Mutex
	flights map[cacheKey]*flight
	wg      sync.WaitGroup
}

// cacheKey is a keyed hash of what an entry belongs to: a canonical reference, and the ordered candidates. So no
// credential is in memory as a key, nor can be guessed from one, and each key has one size, whatever an author writes.
type cacheKey [sha256.Size]byte

// entry is the last answer, and the last good one. It is kept small: there are as many as the config says.
type entry struct {
	digest [sha256.Size]byte
	good   bool          // there is a digest
	at     time.Duration // when it was asked for
	err    error         // nil: the last answer is the digest
	errAt  time.Duration
}

// prefix is what a digest of an entry begins with.
const prefix = "sha256:"

func (e *entry) result(stale bool) Result {
	var text [len(prefix) + 2*sha256.Size]byte // go-digest's own way has five allocations
	hex.Encode(text[copy(text[:], prefix):], e.digest[:])
	return Result{Digest: digest.Digest(text[:]), Cached: true, Stale: stale}
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
		c.began = time.Now()
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
	key := c.key(req)
	known, ok := c.entries.Get(key)
	now := time.Since(c.began)
	if ok && !req.Fresh {
		switch {
		case known.err != nil && now-known.errAt < orDefault(c.NegativeTTL, DefaultNegativeTTL):
			result, err := c.stale(&known, now, known.err)
			result.Cached = true
			return result, err
		case known.err == nil && !req.First && now-known.at < orDefault(c.TTL, DefaultTTL):
			return known.result(false), nil
		}
	}
	result, err := c.await(ctx, key, req)
	if err != nil && !req.Fresh {
		return c.stale(&known, now, err)
	}
	return result, err
}

// await waits for the look-up of key, which it starts unless there is one, or the time is over already.
func (c *Cache) await(ctx context.Context, key cacheKey, req Request) (Result, error) {
	if ctx.Err() == nil {
		f := c.join(ctx, key, req)
		select {
		case <-f.done:
			return f.result, f.err
		case <-ctx.Done():
		}
	}
	return Result{}, &classified{ErrUnavailable, errors.New(req.Ref.Host() + ": no answer within the time allowed")}
}

// stale is the last good answer where the registry can't be reached and it is not too old, else err.
func (c *Cache) stale(known *entry, now time.Duration, err error) (Result, error) {
	if !errors.Is(err, ErrUnavailable) || !known.good || now-known.at >= orDefault(c.StaleFor, DefaultStaleFor) {
		return Result{}, err
	}
	return known.result(true), nil
}

// join finds the look-up of key in flight, or starts one, which belongs to the trace of ctx, if any, and not to its end.
func (c *Cache) join(ctx context.Context, key cacheKey, req Request) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f, ok := c.flights[key]; ok {
		return f
	}
	f := &flight{done: make(chan struct{})}
	c.flights[key] = f
	base := span.Under(context.Background(), ctx)
	c.wg.Go(func() { c.fly(base, key, req, f) })
	return f
}

// fly looks up, apart from any caller's context, and remembers the answer.
func (c *Cache) fly(base context.Context, key cacheKey, req Request, f *flight) {
	ctx, cancel := context.WithTimeout(base, orDefault(c.LookupTimeout, DefaultLookupTimeout))
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
	e, now := entry{}, time.Since(c.began)
	if f.err != nil {
		if errors.Is(f.err, ErrUnavailable) { // a registry that can't be reached takes nothing back
			e, _ = c.entries.Peek(key)
		}
		e.err, e.errAt = flat(f.err), now
		c.entries.Add(key, e)
		return
	}
	encoded, ok := strings.CutPrefix(string(f.result.Digest), prefix)
	sum, err := hex.DecodeString(encoded)
	if !ok || err != nil || len(sum) != len(e.digest) {
		return // there are no others
	}
	e.good, e.at = true, now
	copy(e.digest[:], sum)
	c.entries.Add(key, e)
}

// flat is what of an error is remembered: its class and its text.
func flat(err error) error {
	for _, class := range [...]error{ErrNotFound, ErrUnauthorized, ErrUnavailable, ErrInvalid} {
		if errors.Is(err, class) {
			return &classified{class, errors.New(err.Error())}
		}
	}
	return err
}

// key hashes what stands in the request, each part with its length before it.
func (c *Cache) key(req Request) cacheKey {
	var room [512]byte // most have no more
	text := append(room[:0], c.secret[:]...)
	for _, s := range [...]string{req.Ref.Host(), req.Ref.Path(), req.Ref.Tag(), string(req.Ref.Digest())} {
		text = appendPart(text, s)
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
			text = appendPart(text, s)
		}
	}
	return sha256.Sum256(text)
}

func appendPart(text []byte, s string) []byte {
	return append(binary.AppendUvarint(text, uint64(len(s))), s...)
}

// Len is the number of entries.
func (c *Cache) Len() int {
	c.init()
	return c.entries.Len()
}

// Wait returns when no look-up is in flight; no request may come meanwhile.
func (c *Cache) Wait() { c.wg.Wait() }
