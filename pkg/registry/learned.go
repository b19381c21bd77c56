// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"crypto/rand"
	"crypto/sha256"
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
	challenges cache.Memory[challengeKey, owned[received]]
	tokens     cache.Memory[tokenKey, owned[string]] // Authorization headers
	noHead     cache.Memory[string, owned[struct{}]] // registries that refuse HEAD, by origin
	// noChallenge has the registries without a challenge at /v2/, by origin.
	noChallenge cache.Memory[string, owned[struct{}]]
	silences    cache.Memory[string, owned[time.Time]] // when they began, by origin
	tokenCalls  cache.Flights[tokenCall, string]
}

func (l *Learned) prepare(p *panics.Reporter) {
	l.once.Do(func() {
		_, _ = rand.Read(l.secret[:]) // never fails (crypto/rand)
		l.gates = newGates()
		l.dials.Capacity = network.MaxDials
		l.limiters.idle.Size = maxLimiters
		l.limiters.idle.Owner = func(_ limiterKey, l *limiter) string { return l.owner }
		l.challenges.Size, l.challenges.Owner = maxChallenges, ownerOf[challengeKey, received]
		l.noHead.Size, l.noHead.Owner = maxNoHead, ownerOf[string, struct{}]
		l.noChallenge.Size, l.noChallenge.Owner = maxNoChallenge, ownerOf[string, struct{}]
		l.silences.Size, l.silences.Owner = maxSilences, ownerOf[string, time.Time]
		l.tokens.Size, l.tokens.Owner = maxTokens, ownerOf[tokenKey, string]
		l.tokens.Bytes = maxTokenBytes
		l.tokens.Weigh = func(_ tokenKey, header owned[string]) int { return len(header.value) }
		l.tokenCalls.Doing, l.tokenCalls.Panics = "asking a registry for a token", p
	})
}

// Close cancels the requests for tokens that are under way and waits for them.
func (l *Learned) Close() { l.tokenCalls.Close() }

// owned is a value that was learned for a namespace. When there is no more room, the namespace that
// has learned most loses its values first, so that a tenant that asks for made-up registries or
// repositories takes nothing from others.
type owned[V any] struct {
	value V
	owner string // the namespace; empty if several have learned it
}

func ownerOf[K, V any](_ K, v owned[V]) string { return v.owner }

// learn remembers a value for a namespace.
func learn[K comparable, V any](
	m *cache.Memory[K, owned[V]], key K, value V, namespace string, lifetime time.Duration,
) {
	m.Update(key, lifetime, func(known owned[V], ok bool) (owned[V], bool) {
		return owned[V]{value, ownerAfter(known.owner, ok, namespace)}, true
	})
}

// ownerAfter returns the owner of an entry after a namespace has set it: none if it was another
// namespace's before.
func ownerAfter(owner string, known bool, namespace string) string {
	if known && owner != namespace {
		return ""
	}
	return strings.Clone(namespace) // which may be a part of a whole review
}
