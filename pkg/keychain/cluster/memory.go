// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	defaultTTL     = 5 * time.Second
	defaultSize    = 4096
	defaultTimeout = 2 * time.Second
	// freshAfter is how old what is remembered has to be before a refused credential makes it be read again.
	freshAfter = time.Second
	// keepFor is how long what was read last holds while the API server gives no answer at all.
	keepFor = time.Minute
)

// key is an object of one kind. The names are an author's own text: a joined string could be read as another pair.
type key struct{ namespace, name string }

// memory remembers what was read for a while, by key, and lets those who want one object at once share one read, which
// outlives the one who started it. The zero value is ready for use.
type memory[T any] struct {
	mu     sync.Mutex
	items  *lru.Cache[key, *item[T]]
	base   context.Context // of all reads; ended by close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// item is one read, done or in flight.
type item[T any] struct {
	done    chan struct{} // closed after value is written
	started time.Time
	good    time.Time // when what value holds was read; older than started where the API server gave no answer
	value   T
}

// read reads one object. ok tells an answer, be it that there is none, from no answer at all.
type read[T any] func(ctx context.Context, k key) (value T, ok bool)

// wait waits for the read, or for ctx; then the value is zero.
func (it *item[T]) wait(ctx context.Context) (zero T) {
	select {
	case <-it.done:
		return it.value
	default:
	}
	select {
	case <-it.done:
		return it.value
	case <-ctx.Done():
		return zero
	}
}

func (it *item[T]) finished() bool {
	select {
	case <-it.done:
		return true
	default:
		return false
	}
}

// get gives what is remembered, joins a read in flight, or starts one.
func (m *memory[T]) get(c *Cluster, k key, fresh bool, r read[T]) *item[T] {
	age := c.TTL
	if age <= 0 {
		age = defaultTTL
	}
	if fresh {
		age = min(age, freshAfter)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.initLocked(c)
	old, _ := m.items.Get(k)
	if old != nil && (!old.finished() || time.Since(old.started) < age) {
		return old
	}
	it := &item[T]{done: make(chan struct{}), started: time.Now()}
	if m.base.Err() != nil {
		close(it.done)
		return it
	}
	m.items.Add(k, it)
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	m.wg.Go(func() {
		defer close(it.done)
		ctx, cancel := context.WithTimeout(m.base, timeout)
		defer cancel()
		it.fill(old, func() (T, bool) { return r(ctx, k) })
	})
	return it
}

// fill reads; where there is no answer, what old holds stays for a while.
func (it *item[T]) fill(old *item[T], r func() (T, bool)) {
	value, ok := r()
	switch {
	case ok:
		it.value, it.good = value, it.started
	case old != nil && it.started.Sub(old.good) < keepFor:
		it.value, it.good = old.value, old.good
	}
}

func (m *memory[T]) initLocked(c *Cluster) {
	if m.items != nil {
		return
	}
	size := c.Size
	if size <= 0 {
		size = defaultSize
	}
	m.items, _ = lru.New[key, *item[T]](size) // refuses sizes below one alone
	if m.base == nil {
		m.base, m.cancel = context.WithCancel(context.Background())
	}
}

func (m *memory[T]) close() {
	m.mu.Lock()
	if m.base == nil {
		m.base, m.cancel = context.WithCancel(context.Background())
	}
	m.cancel()
	m.mu.Unlock()
	m.wg.Wait()
}
