// SPDX-License-Identifier: Apache-2.0

// Package cache remembers what was asked for, and shares one question among all who ask it at once.
//
// It has two parts that stand alone and are mostly used together. A Memory is a bounded map: by
// entries and bytes, fairly among the owners of keys, with values that may expire. Flights share a
// call among the callers that want the same key; the call outlives them.
//
//	m := &cache.Memory[string, token]{Size: 1024}
//	f := &cache.Flights[string, token]{}
//	t, ok := m.Get(key)
//	if !ok {
//		t, err = f.Do(ctx, key, func(ctx context.Context) (token, error) {
//			t, err := ask(ctx, key)
//			if err == nil {
//				m.Put(key, t, t.lifetime)
//			}
//			return t, err
//		})
//	}
//
// How old a value may be, and what a failure is worth, are rules of the package that uses it.
package cache

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// DefaultSize is the number of entries of a Memory that does not say otherwise.
const DefaultSize = 1024

// Memory is a bounded map that forgets what was used least recently, first that of the owner that has
// most. The exported fields must not change after the first call; the zero value is ready. It is safe
// for concurrent use.
//
// Values expire when they are read: expirable.LRU of golang-lru starts a goroutine that can't be
// stopped.
type Memory[K comparable, V any] struct {
	// Size is the number of entries. 0: DefaultSize.
	Size int
	// Bytes is the number of bytes that all values may hold, by Weigh. 0: no bound.
	Bytes int
	// Weigh returns about how many bytes an entry holds. Nil: entries are only counted.
	Weigh func(K, V) int
	// Owner returns who a key belongs to, such as its namespace: when a bound is reached, the owner
	// that holds most loses its oldest entry. Nil: all keys have one owner.
	Owner func(K) string

	mu     sync.Mutex
	owners map[string]*owner[K, V]
	size   int
	bytes  int
	clock  uint64
}

// owner holds the entries of one owner.
type owner[K comparable, V any] struct {
	entries *simplelru.LRU[K, entry[V]]
	bytes   int
	used    uint64 // by the clock of the Memory
}

type entry[V any] struct {
	value V
	until time.Time // zero: it does not expire
	bytes int
}

// Get returns the value of a key. ok is false if there is none, or if it has expired.
func (m *Memory[K, V]) Get(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.getLocked(key)
}

// Put sets the value of a key. It expires after lifetime; 0: never.
func (m *Memory[K, V]) Put(key K, value V, lifetime time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.putLocked(key, value, lifetime)
}

// Update replaces the value of a key by what change makes of it, in one step. ok and known are as from
// Get. Where change returns false, the entry is removed. change must not use the Memory.
func (m *Memory[K, V]) Update(key K, lifetime time.Duration, change func(known V, ok bool) (V, bool)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.getLocked(key)
	if value, keep := change(known, ok); keep {
		m.putLocked(key, value, lifetime)
		return
	}
	m.removeLocked(key)
}

// Remove forgets a key.
func (m *Memory[K, V]) Remove(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(key)
}

// Len returns the number of entries, with those that have expired.
func (m *Memory[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

// Held returns about how many bytes the entries hold.
func (m *Memory[K, V]) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bytes
}

// Resize changes Size; 0: DefaultSize. What is over it is forgotten.
func (m *Memory[K, V]) Resize(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Size = size
	m.boundLocked()
}

func (m *Memory[K, V]) ownerOf(key K) string {
	if m.Owner == nil {
		return ""
	}
	return m.Owner(key)
}

func (m *Memory[K, V]) getLocked(key K) (value V, ok bool) {
	o := m.owners[m.ownerOf(key)]
	if o == nil {
		return value, false
	}
	e, ok := o.entries.Get(key)
	if !ok || !e.until.IsZero() && !time.Now().Before(e.until) {
		return value, false
	}
	m.clock++
	o.used = m.clock
	return e.value, true
}

func (m *Memory[K, V]) putLocked(key K, value V, lifetime time.Duration) {
	m.removeLocked(key)
	name := m.ownerOf(key)
	o := m.owners[name]
	if o == nil {
		if m.owners == nil {
			m.owners = map[string]*owner[K, V]{}
		}
		o = &owner[K, V]{}
		// boundLocked keeps the bound; simplelru only refuses a size below one.
		o.entries, _ = simplelru.NewLRU[K, entry[V]](int(^uint(0)>>1), nil)
		m.owners[name] = o
	}
	e := entry[V]{value: value}
	if lifetime > 0 {
		e.until = time.Now().Add(lifetime)
	}
	if m.Weigh != nil {
		e.bytes = m.Weigh(key, value)
	}
	o.entries.Add(key, e)
	o.bytes += e.bytes
	m.size++
	m.bytes += e.bytes
	m.clock++
	o.used = m.clock
	m.boundLocked()
}

func (m *Memory[K, V]) removeLocked(key K) {
	name := m.ownerOf(key)
	o := m.owners[name]
	if o == nil {
		return
	}
	if e, ok := o.entries.Peek(key); ok {
		o.entries.Remove(key)
		m.forgetLocked(name, o, e)
	}
}

// forgetLocked counts an entry that was removed.
func (m *Memory[K, V]) forgetLocked(name string, o *owner[K, V], e entry[V]) {
	o.bytes -= e.bytes
	m.size--
	m.bytes -= e.bytes
	if o.entries.Len() == 0 {
		delete(m.owners, name)
	}
}

// boundLocked forgets entries until the bounds are kept. An entry that is over Bytes by itself is not
// kept at all.
func (m *Memory[K, V]) boundLocked() {
	size := m.Size
	if size <= 0 {
		size = DefaultSize
	}
	for m.size > size || m.Bytes > 0 && m.bytes > m.Bytes && m.size > 0 {
		name, o := m.largestLocked(m.size > size)
		_, e, _ := o.entries.RemoveOldest()
		m.forgetLocked(name, o, e)
	}
}

// largestLocked returns the owner that holds most, by entries or by bytes. Of owners that hold the
// same, it is the one whose last use is longest ago.
func (m *Memory[K, V]) largestLocked(byEntries bool) (name string, largest *owner[K, V]) {
	most := -1
	for n, o := range m.owners {
		held := o.bytes
		if byEntries {
			held = o.entries.Len()
		}
		if held > most || held == most && o.used < largest.used {
			name, largest, most = n, o, held
		}
	}
	return name, largest
}
