// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Bounds of what is remembered: tenants choose the keys.
const (
	maxLines      = 1024
	maxChallenges = 1024
	maxTokens     = 2048
	maxGates      = 4096
	maxNoHead     = 1024
)

// headLifetime is how long it is remembered that a registry takes no HEAD.
const headLifetime = 10 * time.Minute

// memory is a bounded map whose values have an end. hashicorp's expirable.LRU starts a goroutine that can't be stopped.
type memory[K comparable, V any] struct {
	entries *lru.Cache[K, entry[V]]
}

type entry[V any] struct {
	value V
	until time.Time
}

func newMemory[K comparable, V any](size int) memory[K, V] {
	entries, _ := lru.New[K, entry[V]](size) // refuses sizes below one alone
	return memory[K, V]{entries}
}

func (m memory[K, V]) get(key K) (value V, ok bool) {
	e, ok := m.entries.Get(key)
	if !ok || !time.Now().Before(e.until) {
		return value, false
	}
	return e.value, true
}

func (m memory[K, V]) add(key K, value V, lifetime time.Duration) {
	m.entries.Add(key, entry[V]{value, time.Now().Add(lifetime)})
}

func (m memory[K, V]) remove(key K) { m.entries.Remove(key) }
