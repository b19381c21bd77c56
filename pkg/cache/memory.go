// SPDX-License-Identifier: Apache-2.0

// Package cache remembers what was asked for, and shares one question among all who ask it at once.
//
// It has two parts that stand alone and are mostly used together. A Memory is a bounded map: by
// entries and bytes, fairly among the owners of keys, with values that may expire. Flights share a
// call among the callers that want the same key at the same time.
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
	"math"
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
// Expiry is checked when a value is read; nothing runs in the background, as expirable.LRU of golang-lru
// does.
type Memory[K comparable, V any] struct {
	// Size is the number of entries. 0: DefaultSize.
	Size int
	// Bytes is the number of bytes that all values may hold, by Weigh. 0: no bound.
	Bytes int
	// Weigh returns about how many bytes an entry holds. Nil: entries are only counted.
	Weigh func(K, V) int
	// Owner returns who an entry belongs to, such as the namespace that asked for it: when a bound is
	// reached, the owner that holds most loses its oldest entry. Nil: all entries have one owner.
	Owner func(K, V) string

	mu     sync.Mutex
	index  map[K]*owner[K, V]
	owners map[string]*owner[K, V]
	bytes  int
	clock  uint64
}

// owner holds the entries of one owner.
type owner[K comparable, V any] struct {
	name    string
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
	return len(m.index)
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

func (m *Memory[K, V]) getLocked(key K) (value V, ok bool) {
	o := m.index[key]
	if o == nil {
		return value, false
	}
	e, _ := o.entries.Get(key)
	if !e.until.IsZero() && !time.Now().Before(e.until) {
		return value, false
	}
	m.clock++
	o.used = m.clock
	return e.value, true
}

func (m *Memory[K, V]) putLocked(key K, value V, lifetime time.Duration) {
	m.removeLocked(key)
	e := entry[V]{value: value}
	if lifetime > 0 {
		e.until = time.Now().Add(lifetime)
	}
	if m.Weigh != nil {
		e.bytes = m.Weigh(key, value)
	}
	o := m.ownerLocked(key, value)
	o.entries.Add(key, e)
	o.bytes += e.bytes
	m.index[key] = o
	m.bytes += e.bytes
	m.clock++
	o.used = m.clock
	m.boundLocked()
}

// ownerLocked returns the owner of an entry that is to be added.
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
	}
	o := &owner[K, V]{name: name}
	// boundLocked keeps the bound; NewLRU only refuses a size below one.
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
	m.forgetLocked(o, key, e)
}

// forgetLocked counts an entry that its owner has lost.
func (m *Memory[K, V]) forgetLocked(o *owner[K, V], key K, e entry[V]) {
	delete(m.index, key)
	o.bytes -= e.bytes
	m.bytes -= e.bytes
	if o.entries.Len() == 0 {
		delete(m.owners, o.name)
	}
}

// boundLocked forgets entries until the bounds are kept. An entry that is over Bytes by itself is not
// kept at all.
func (m *Memory[K, V]) boundLocked() {
	size := m.Size
	if size <= 0 {
		size = DefaultSize
	}
	for len(m.index) > size || m.Bytes > 0 && m.bytes > m.Bytes && len(m.index) > 0 {
		o := m.largestLocked(len(m.index) > size)
		key, e, _ := o.entries.RemoveOldest()
		m.forgetLocked(o, key, e)
	}
}

// largestLocked returns the owner that holds most, by entries or by bytes. Of owners that hold the
// same, it is the one whose last use is longest ago.
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
