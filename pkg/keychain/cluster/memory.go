// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"k8s.io/apimachinery/pkg/api/validate/content"
)

const (
	defaultTTL     = 5 * time.Second
	defaultSize    = 4096
	defaultBytes   = 16 << 20
	defaultTimeout = 2 * time.Second
	// freshAfter is how old what is remembered has to be before a refused credential makes it be read again, or a read
	// that got no answer is tried again.
	freshAfter = time.Second
	// keepFor is how long what was read last holds while the API server gives no answer at all.
	keepFor = time.Minute
	// maxName is how long a name can be: of what an author writes in a pod spec, nothing longer is there to read.
	maxName = 253
)

// key is an object of one kind. The names are an author's own text: a joined string could be read as another pair.
type key struct{ namespace, name string }

// possible tells whether there may be such an object. The API server can't be asked for others.
func (k key) possible() bool {
	return k.name != "" && len(k.namespace) <= maxName && len(k.name) <= maxName && len(content.IsPathSegmentName(k.name)) == 0
}

// memory remembers what was read for a while, by key, and lets those who want one object at once share one read, which
// outlives the one who started it. The zero value is ready for use.
type memory[T sized] struct {
	mu     sync.Mutex
	items  *simplelru.LRU[key, *item[T]]
	bytes  int             // that the items hold
	most   int             // of them
	base   context.Context // of all reads; ended by close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// item is one read, done or in flight.
type item[T sized] struct {
	done     chan struct{} // closed after what follows is written
	started  time.Time
	answered bool
	good     time.Time // when what value holds was read; older than started where the API server gave no answer
	value    T

	bytes int // that value holds; under the memory's lock
}

// read reads one object. ok tells an answer, be it that there is none, from no answer at all.
type read[T sized] func(ctx context.Context, k key) (value T, ok bool)

// sized is a value that can tell about how many bytes it holds.
type sized interface{ Size() int }

// wait waits for the read, or for ctx. known tells whether the value is an answer, now or a while ago, be it that there is
// none; otherwise it is zero.
func (it *item[T]) wait(ctx context.Context) (value T, known bool) {
	if !it.finished() {
		select {
		case <-it.done:
		case <-ctx.Done():
			return value, false
		}
	}
	return it.value, !it.good.IsZero()
}

func (it *item[T]) finished() bool {
	select {
	case <-it.done:
		return true
	default:
		return false
	}
}

// fits tells whether what is remembered is young enough; a read in flight always is.
func (it *item[T]) fits(age time.Duration) bool {
	if !it.finished() {
		return true
	}
	if !it.answered {
		age = min(age, freshAfter)
	}
	return time.Since(it.started) < age
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
	if old != nil && old.fits(age) {
		return old
	}
	it := &item[T]{done: make(chan struct{}), started: time.Now()}
	if !k.possible() {
		it.good = it.started
	}
	if m.base.Err() != nil || !k.possible() {
		close(it.done)
		return it
	}
	m.items.Remove(k) // Add alone would not tell that old is gone
	m.items.Add(k, it)
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	m.wg.Go(func() {
		ctx, cancel := context.WithTimeout(m.base, timeout)
		defer cancel()
		it.fill(old, func() (T, bool) { return r(ctx, k) })
		m.weigh(k, it)
		close(it.done)
	})
	return it
}

// weigh counts what it holds, and forgets what has not been wanted for longest until the bound is kept.
func (m *memory[T]) weigh(k key, it *item[T]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now, _ := m.items.Peek(k); now != it {
		return // forgotten meanwhile
	}
	it.bytes = it.value.Size()
	m.bytes += it.bytes
	for m.bytes > m.most {
		m.items.RemoveOldest()
	}
}

// fill reads; where there is no answer, what old holds stays for a while.
func (it *item[T]) fill(old *item[T], r func() (T, bool)) {
	value, ok := r()
	it.answered = ok
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
	m.items, _ = simplelru.NewLRU(size, func(_ key, it *item[T]) { m.bytes -= it.bytes }) // refuses sizes below one alone
	if m.most = c.Bytes; m.most <= 0 {
		m.most = defaultBytes
	}
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
