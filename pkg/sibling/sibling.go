// SPDX-License-Identifier: Apache-2.0

// Package sibling knows what the pods of one owner revision run, so that a new one runs the same.
//
// A revision is a controller's UID and the label by which the controller tells its revisions apart:
// controller-revision-hash, pod-template-hash, or for a Job batch.kubernetes.io/controller-uid. Its pods are asked of the
// API server by one list, which is remembered: what is running is the same for every replica of the webhook, and after its
// restart. Only what a pod's spec runs is believed.
//
// It resolves nothing: which digest the first pod of a revision gets is its caller's to say, and to tell (Decide).
package sibling

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	defaultTTL     = 30 * time.Second
	defaultSize    = 10_000
	defaultBytes   = 16 << 20
	defaultTimeout = 2 * time.Second
	// retryAfter is how long a list that failed holds.
	retryAfter = time.Second
	// maxTexts bounds what is remembered of one revision.
	maxTexts = 128
)

// Siblings remembers what revisions run. It is safe for concurrent use; its fields are set before its first use.
type Siblings struct {
	// Lister lists pods. Required.
	Lister Lister
	// Policy tells for which text a pin was made.
	Policy *policy.Policy
	// TTL is how long a list is remembered: a revision that was scaled to nothing and back may run another digest then, which
	// another replica has resolved. It is also how long a decision is whose pod no list has shown: it may never have been
	// stored. Default: 30 s.
	TTL time.Duration
	// Size is how many revisions are remembered. Default: 10,000.
	Size int
	// Bytes is how many bytes, about, what is remembered may hold: texts are a tenant's. Default: 16 MiB.
	Bytes int
	// Timeout of one list. Default: 2 s.
	Timeout time.Duration
	// Metrics counts the lists. Nil: none.
	Metrics *Metrics

	mu     sync.Mutex
	items  *simplelru.LRU[Revision, *item]
	bytes  int             // that the items hold
	base   context.Context // of all lists; ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// item is what is known of one revision. All but done is written under the lock of Siblings.
type item struct {
	done   chan struct{} // closed when the list has ended
	listed time.Time     // when it was begun
	failed bool
	found  map[string]digest.Digest // by text, what a sibling runs
	own    map[string]decision      // by text, what was decided since
	bytes  int
}

// decision is one of our own.
type decision struct {
	digest digest.Digest
	at     time.Time
}

// Running returns what the oldest siblings of a pod that is to be created run for each of some texts, as far as any do, and
// whether those are all. It costs one list a revision, while it is remembered, and none for a pod without a revision. Where
// the API server gives no answer in time, what was known before holds.
func (s *Siblings) Running(ctx context.Context, namespace string, pod *workload.Object, texts []string) (running map[string]digest.Digest, all bool) {
	r, ok := RevisionOf(namespace, pod)
	if !ok {
		return nil, false
	}
	it, open := s.item(ctx, r)
	if !open {
		return nil, false
	}
	ended := true
	select {
	case <-it.done:
	case <-ctx.Done():
		ended = false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	running = map[string]digest.Digest{}
	for _, text := range texts {
		if d := s.knownLocked(it, text); d != "" {
			running[text] = d
		}
	}
	return running, ended && !it.failed
}

// Decide tells which digest the first pod of a revision gets for a text, and returns it, or the one that another pod of
// the revision has got meanwhile.
func (s *Siblings) Decide(namespace string, pod *workload.Object, text string, d digest.Digest) digest.Digest {
	r, ok := RevisionOf(namespace, pod)
	if !ok {
		return d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.items == nil {
		return d
	}
	it, ok := s.items.Get(r)
	if !ok {
		return d
	}
	if known := s.knownLocked(it, text); known != "" {
		return known
	}
	if _, again := it.own[text]; again || len(it.own) < maxTexts {
		if !again {
			s.weighLocked(it, weight(text))
		}
		it.own[text] = decision{d, time.Now()}
	}
	return d
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

// item gives what is remembered, joins a list in flight, or starts one, which belongs to the trace of ctx, if any. It begins
// with what was known before: a list that fails takes nothing back. open is false after Close.
func (s *Siblings) item(ctx context.Context, r Revision) (it *item, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.initLocked()
	old, _ := s.items.Get(r)
	if old != nil && s.holdsLocked(old) {
		return old, true
	}
	if s.base.Err() != nil {
		return nil, false
	}
	it = &item{done: make(chan struct{}), listed: time.Now(), own: map[string]decision{}}
	s.items.Remove(r) // Add alone would not tell that old is gone
	s.items.Add(r, it)
	if old != nil {
		s.inheritLocked(it, old)
	}
	base := span.Under(s.base, ctx)
	s.wg.Go(func() { s.list(base, r, it) })
	return it, true
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

// holdsLocked tells whether what is remembered is young enough; a list in flight always is.
func (s *Siblings) holdsLocked(it *item) bool {
	select {
	case <-it.done:
	default:
		return true
	}
	if it.failed {
		return time.Since(it.listed) < min(retryAfter, s.ttl())
	}
	return time.Since(it.listed) < s.ttl()
}

// list fills the item.
func (s *Siblings) list(base context.Context, r Revision, it *item) {
	defer close(it.done)
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(base, timeout)
	defer cancel()
	ctx, listing := span.Call(ctx, "siblings")
	defer listing.End()
	found := oldest{policy: s.Policy, revision: r}
	err := s.Lister.List(ctx, r.Namespace, r.Label, r.Value, found.add)
	result := resultOf(err, len(found.texts))
	s.Metrics.count(result)
	listing.Text("tagpin.result", result)
	s.mu.Lock()
	defer s.mu.Unlock()
	it.failed = err != nil
	if err != nil {
		return
	}
	size := 0
	for text := range it.found {
		size -= weight(text)
	}
	it.found = make(map[string]digest.Digest, len(found.texts)) // another item may hold the former
	for text, run := range found.texts {
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

// Close cancels the lists in flight and waits for them. Afterwards nothing more is listed.
func (s *Siblings) Close() {
	s.mu.Lock()
	if s.base == nil {
		s.base, s.cancel = context.WithCancel(context.Background())
	}
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
}
