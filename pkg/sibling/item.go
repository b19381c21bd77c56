// SPDX-License-Identifier: Apache-2.0

package sibling

import (
	"context"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxPages bounds how many pages of one list are read.
const maxPages = 10

// item is what is known of one revision. What the list tells is set when done is closed; all else is written under the lock of
// Siblings.
type item struct {
	done  chan struct{}            // closed when the list has ended
	since time.Time                // when it began, or failed
	err   error                    // of the list
	cut   bool                     // the list ended before the last pod
	found map[string]digest.Digest // by text, what a sibling runs
	own   map[string]decision      // by text, what was decided since
	bytes int
}

// decision is one of our own.
type decision struct {
	digest digest.Digest
	at     time.Time
}

func (it *item) ended() bool {
	select {
	case <-it.done:
		return true
	default:
		return false
	}
}

// origin is where an item comes from.
type origin int

const (
	remembered origin = iota // its list had ended
	joined                   // its list was under way, for the texts of another
	begun                    // its list is for this one
)

// item gives what is remembered, joins a list in flight, or begins one, which belongs to the trace of ctx, if any. It begins
// with what was known before: a list that fails takes nothing back. anew says that a list which went well does not do when it
// has ended. The item is nil after Close.
func (s *Siblings) item(ctx context.Context, r Revision, texts []string, anew bool) (*item, origin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.initLocked()
	old, _ := s.items.Get(r)
	switch {
	case old == nil:
	case !old.ended():
		return old, joined
	case s.holds(old) && (!anew || old.err != nil):
		return old, remembered
	}
	if s.base.Err() != nil {
		return nil, begun
	}
	it := &item{done: make(chan struct{}), since: time.Now(), own: map[string]decision{}}
	s.items.Remove(r) // Add alone would not tell that old is gone
	s.items.Add(r, it)
	if old != nil {
		s.inheritLocked(it, old)
	}
	base := span.Under(s.base, ctx)
	s.wg.Go(func() { s.list(base, r, texts, it) })
	return it, begun
}

// holds tells whether what is remembered is young enough.
func (s *Siblings) holds(it *item) bool {
	if it.err != nil {
		return time.Since(it.since) < min(retryAfter, s.ttl())
	}
	return time.Since(it.since) < s.ttl()
}

// inheritLocked takes over what old knew.
func (s *Siblings) inheritLocked(it, old *item) {
	it.found = old.found
	size := 0
	for text := range it.found {
		size += weight(text)
	}
	for text, own := range old.own {
		if time.Since(own.at) < s.ttl() {
			it.own[text] = own
			size += weight(text)
		}
	}
	s.weighLocked(it, size)
}

func (s *Siblings) knownLocked(it *item, text string) digest.Digest {
	if d := it.found[text]; d != "" {
		return d
	}
	if own, ok := it.own[text]; ok && time.Since(own.at) < s.ttl() {
		return own.digest
	}
	return ""
}

// list fills the item.
func (s *Siblings) list(base context.Context, r Revision, texts []string, it *item) {
	defer close(it.done)
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(base, timeout)
	defer cancel()
	ctx, listing := span.Call(ctx, "siblings")
	defer listing.End()
	found := oldest{policy: s.Policy, table: workload.Table{Labels: s.RevisionLabels}, revision: r}
	next, err := s.pages(ctx, &found, texts)
	result := resultOf(err, len(found.texts))
	s.Metrics.count(result)
	listing.Text("tagpin.result", result)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		it.err, it.since = err, time.Now()
		return
	}
	it.cut = next != ""
	s.fillLocked(r, it, found.texts)
}

// pages lists until all texts are found. next is not empty where there are more.
func (s *Siblings) pages(ctx context.Context, found *oldest, texts []string) (next string, err error) {
	for range maxPages {
		next, err = s.Lister.List(ctx, found.revision, next, found.add)
		if err != nil || next == "" || found.has(texts) {
			return next, err
		}
	}
	return next, nil
}

// fillLocked puts what was found in the place of what was known before.
func (s *Siblings) fillLocked(r Revision, it *item, found map[string]running) {
	size := 0
	for text := range it.found {
		size -= weight(text)
	}
	it.found = make(map[string]digest.Digest, len(found)) // another item may hold the former
	for text, run := range found {
		it.found[text] = run.digest
		size += weight(text)
	}
	if now, _ := s.items.Peek(r); now == it { // else it is forgotten meanwhile
		s.weighLocked(it, size)
	}
}

// weight is about how many bytes a text and its digest hold.
func weight(text string) int {
	const entry = 160
	return entry + len(text)
}

// weighLocked counts what an item holds more, and forgets what has not been wanted for longest until the bound is kept.
func (s *Siblings) weighLocked(it *item, more int) {
	it.bytes += more
	s.bytes += more
	most := s.Bytes
	if most <= 0 {
		most = defaultBytes
	}
	for s.bytes > most && s.items.Len() > 0 {
		s.items.RemoveOldest()
	}
}

func (s *Siblings) ttl() time.Duration {
	if s.TTL > 0 {
		return s.TTL
	}
	return defaultTTL
}

func (s *Siblings) initLocked() {
	if s.items != nil {
		return
	}
	size := s.Size
	if size <= 0 {
		size = defaultSize
	}
	s.items, _ = simplelru.NewLRU(size, func(_ Revision, it *item) { s.bytes -= it.bytes }) // refuses sizes below one alone
	if s.base == nil {
		s.base, s.cancel = context.WithCancel(context.Background())
	}
}
