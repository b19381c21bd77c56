// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// These bound what is remembered, since tenants choose the keys.
const (
	maxLimiters    = 1024
	maxChallenges  = 1024
	maxTokens      = 2048
	maxGates       = 4096
	maxNoHead      = 1024
	maxSilences    = 1024
	maxNoChallenge = 1024
	maxTokenBytes  = 4 << 20
)

// Learned is what answers have shown about registries: challenges, tokens, closed gates and the
// speed of requests. It outlives a Client, so that a new config does not cause requests to every
// registry. What was learned with other settings of a host is not used. The zero value is ready. It
// is safe for concurrent use.
type Learned struct {
	once       sync.Once
	secret     [sha256.Size]byte // of identities
	gates      *gates
	limiters   limiters
	dials      fair.Room // connections that are being made
	challenges memory[challengeKey, received]
	tokens     memory[tokenKey, string]       // Authorization headers
	noHead     memory[repositories, struct{}] // those that refuse HEAD
	// noChallenge has the registries without a challenge at /v2/, by origin.
	noChallenge memory[string, struct{}]
	silences    memory[string, time.Time] // when they began, by server
	tokenCalls  cache.Flights[tokenCall, string]
}

// repositories are those of a registry whose path begins with path, which ends with a slash.
type repositories struct{ origin, path string }

func (l *Learned) prepare(p *panics.Reporter) {
	l.once.Do(func() {
		_, _ = rand.Read(l.secret[:]) // never fails (crypto/rand)
		l.gates = newGates()
		l.limiters.known.init(maxLimiters)
		l.dials.Capacity = network.MaxDials
		l.challenges.init(maxChallenges)
		l.noHead.init(maxNoHead)
		l.noChallenge.init(maxNoChallenge)
		l.silences.init(maxSilences)
		l.tokens.init(maxTokens)
		l.tokens.Bytes = maxTokenBytes
		l.tokens.Weigh = func(_ tokenKey, header owned[string]) int { return len(header.value) }
		l.tokenCalls.Doing, l.tokenCalls.Panics = "asking a registry for a token", p
		l.tokenCalls.IsOwn = func(err error) bool { return errors.Is(err, ErrOfNamespace) }
	})
}

// Close cancels the requests for tokens that are under way and waits for them.
func (l *Learned) Close() { l.tokenCalls.Close() }

// memory remembers values that were learned for namespaces. When there is no more room, the
// namespace that has learned most loses its values first. A value belongs to the first namespace
// that has learned it, whoever uses it later. So a tenant that asks for made-up registries or
// repositories takes nothing from a namespace that has learned less than each of its own, except
// what one of its own has learned first.
type memory[K comparable, V any] struct{ cache.Memory[K, owned[V]] }

// owned is a value with the namespace that has learned it first.
type owned[V any] struct {
	value V
	owner string
}

func (m *memory[K, V]) init(size int) {
	m.Size = size
	m.Owner = func(_ K, v owned[V]) string { return v.owner }
}

func (m *memory[K, V]) Get(key K) (V, bool) {
	known, ok := m.Memory.Get(key)
	return known.value, ok
}

// Put remembers a value that a namespace has learned.
func (m *memory[K, V]) Put(key K, value V, namespace string, lifetime time.Duration) {
	m.Update(key, namespace, lifetime, func(V) V { return value })
}

// Update changes a value, which is zero if none is known.
func (m *memory[K, V]) Update(
	key K, namespace string, lifetime time.Duration, change func(known V) V,
) {
	m.Memory.Update(key, lifetime, func(known owned[V], ok bool) (owned[V], bool) {
		owner := known.owner
		if !ok {
			owner = strings.Clone(namespace) // which may be a part of a whole review
		}
		return owned[V]{change(known.value), owner}, true
	})
}
