// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"cmp"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// DefaultSize is the default of Memory.Size.
const DefaultSize = 1024

// Memory is a map with a maximum size. If it is exceeded, the owner that has most loses the entry
// that it has not used for the longest time. The fields must not change after the first call. The
// zero value is ready. It is safe for concurrent use.
//
// A value that has expired stays in memory until another one takes its place. Unlike expirable.LRU
// of golang-lru, Memory has no goroutine that can't be stopped.
type Memory[K comparable, V any] struct {
	// Size is the maximum number of entries. Default: DefaultSize.
	Size int
	// Bytes is the maximum sum of the sizes that Weigh returns. If 0, there is none.
	Bytes int
	// Weigh returns the approximate size of an entry in bytes, which must always be the same for it.
	// If nil, sizes are not counted.
	Weigh func(K, V) int
	// Owner returns the owner of an entry, such as the namespace that asked for it. If nil, all
	// entries have the same owner.
	Owner func(K, V) string

	mu     sync.Mutex
	index  map[K]*owner[K, V]
	owners map[string]*owner[K, V]
	bytes  int
	clock  uint64    // the number of uses so far
	began  time.Time // when the first value was put
}

// owner has the entries of one owner.
type owner[K comparable, V any] struct {
	name    string
	entries *simplelru.LRU[K, entry[V]]
	bytes   int
	used    uint64 // the clock at the last use
}

// entry is a value. There may be very many, so it has nothing that can be computed.
type entry[V any] struct {
	value V
	until time.Duration // since Memory.began; 0 if the entry does not expire
}

// Get returns the value of a key. ok is false if there is none or it has expired.
func (m *Memory[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.getLocked(key)
}

// Put sets the value of a key. It expires after lifetime, or never if lifetime is 0.
func (m *Memory[K, V]) Put(key K, value V, lifetime time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(key, value, lifetime)
}

// Update replaces the value of a key atomically by the result of change, which gets the results of
// Get. If change returns false, the entry is removed. change must not use the Memory.
func (m *Memory[K, V]) Update(
	key K, lifetime time.Duration, change func(known V, ok bool) (V, bool),
) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.getLocked(key)
	if value, keep := change(known, ok); keep {
		m.putLocked(key, value, lifetime)
		return
	}
	m.removeLocked(key)
}

// Remove removes the entry of a key.
func (m *Memory[K, V]) Remove(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(key)
}

// Len returns the number of entries, including those that have expired.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.index)
}

// Resize changes Size and Bytes, and removes entries if there are too many.
func (m *Memory[K, V]) Resize(size, bytes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Size, m.Bytes = size, bytes
	m.boundLocked()
}

func (m *Memory[K, V]) getLocked(key K) (value V, ok bool) {
	o := m.index[key]
	if o == nil {
		return value, false
	}
	e, _ := o.entries.Get(key)
	if e.until != 0 && time.Since(m.began) >= e.until {
		return value, false
	}
	m.clock++
	o.used = m.clock
	return e.value, true
}

func (m *Memory[K, V]) putLocked(key K, value V, lifetime time.Duration) {
	m.removeLocked(key)
	o := m.ownerLocked(key, value)
	e := entry[V]{value: value}
	if lifetime > 0 {
		e.until = time.Since(m.began) + lifetime
	}
	o.entries.Add(key, e)
	m.index[key] = o
	bytes := m.weigh(key, value)
	o.bytes += bytes
	m.bytes += bytes
	m.clock++
	o.used = m.clock
	m.boundLocked()
}

// ownerLocked returns the owner of a new entry.
func (m *Memory[K, V]) ownerLocked(key K, value V) *owner[K, V] {
	name := ""
	if m.Owner != nil {
		name = m.Owner(key, value)
	}
	if o := m.owners[name]; o != nil {
		return o
	}
	if m.owners == nil {
		m.index, m.owners = map[K]*owner[K, V]{}, map[string]*owner[K, V]{}
		m.began = time.Now()
	}
	o := &owner[K, V]{name: name}
	// boundLocked limits the size. NewLRU only returns an error if the size is less than 1.
	o.entries, _ = simplelru.NewLRU[K, entry[V]](math.MaxInt, nil)
	m.owners[name] = o
	return o
}

func (m *Memory[K, V]) removeLocked(key K) {
	o := m.index[key]
	if o == nil {
		return
	}
	e, _ := o.entries.Peek(key)
	o.entries.Remove(key)
	m.forgetLocked(o, key, e.value)
}

// forgetLocked updates the counts after an entry was removed from its owner.
func (m *Memory[K, V]) forgetLocked(o *owner[K, V], key K, value V) {
	delete(m.index, key)
	bytes := m.weigh(key, value)
	o.bytes -= bytes
	m.bytes -= bytes
	if o.entries.Len() == 0 {
		delete(m.owners, o.name)
	}
}

// boundLocked removes entries until the maximum sizes are kept. An entry that alone is larger than
// Bytes is removed too.
func (m *Memory[K, V]) boundLocked() {
	size := cmp.Or(max(m.Size, 0), DefaultSize)
	for len(m.index) > size || m.Bytes > 0 && m.bytes > m.Bytes && len(m.index) > 0 {
		o := m.largestLocked(len(m.index) > size)
		key, e, _ := o.entries.RemoveOldest()
		m.forgetLocked(o, key, e.value)
	}
}

func (m *Memory[K, V]) weigh(key K, value V) int {
	if m.Weigh == nil {
		return 0
	}
	return m.Weigh(key, value)
}

// largestLocked returns the owner that has most entries or most bytes. Of owners that have the same
// number, it returns the one whose last use is the longest time ago.
func (m *Memory[K, V]) largestLocked(byEntries bool) (largest *owner[K, V]) {
	most := -1
	for _, o := range m.owners {
		held := o.bytes
		if byEntries {
			held = o.entries.Len()
		}
		if held > most || held == most && o.used < largest.used {
			largest, most = o, held
		}
	}
	return largest
}
