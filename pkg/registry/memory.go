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
)

// Bounds of what is remembered: tenants choose the keys.
const (
	maxQueues     = 1024
	maxChallenges = 1024
	maxTokens     = 2048
	maxGates      = 4096
	maxNoHead     = 1024
	maxTokenBytes = 4 << 20
)

// owned is something that was learned for a namespace. Where room is short, the namespace that has
// learned most forgets first, so that one that asks for made-up registries or repositories takes
// nothing from others.
type owned[V any] struct {
	value V
	owner string // the namespace; empty where several have learned it
}

func ownerOf[K, V any](_ K, v owned[V]) string { return v.owner }

// learn remembers what was learned for a namespace.
func learn[K comparable, V any](
	m *cache.Memory[K, owned[V]], key K, value V, namespace string, lifetime time.Duration,
) {
	m.Update(key, lifetime, func(known owned[V], ok bool) (owned[V], bool) {
		return owned[V]{value, ownerAfter(known.owner, ok, namespace)}, true
	})
}

// ownerAfter returns the owner of an entry that a namespace sets: nobody in particular if it was
// known and another namespace's.
func ownerAfter(owner string, known bool, namespace string) string {
	if known && owner != namespace {
		return ""
	}
	return strings.Clone(namespace) // which may be a part of a whole review
}

// headLifetime is how long it is remembered that a registry takes no HEAD.
const headLifetime = 10 * time.Minute

// Learned is what requests have taught about registries: their challenges, tokens and closed gates, and
// the queues before them. It outlives the Client that learned it, so that a new config does not ask
// every registry again. What was learned by other settings of a host is not used. The zero value is
// ready. It is safe for concurrent use.
type Learned struct {
	once       sync.Once
	secret     [sha256.Size]byte // of identities
	gates      *gates
	queues     queues
	dials      fair.Room // connections that are being made
	challenges cache.Memory[challengeKey, owned[stated]]
	tokens     cache.Memory[tokenKey, owned[string]]  // Authorization headers
	noHead     cache.Memory[string, owned[struct{}]]  // by origin
	asking     cache.Flights[tokenRequestKey, string] // for tokens
}

func (l *Learned) init(c *Client) {
	l.once.Do(func() {
		_, _ = rand.Read(l.secret[:]) // never fails (crypto/rand)
		l.gates = newGates()
		l.dials.Capacity = maxDials
		l.queues.idle.Size = maxQueues
		l.queues.idle.Owner = func(_ queueKey, q *queue) string { return q.owner }
		l.challenges.Size, l.challenges.Owner = maxChallenges, ownerOf[challengeKey, stated]
		l.noHead.Size, l.noHead.Owner = maxNoHead, ownerOf[string, struct{}]
		l.tokens.Size, l.tokens.Owner = maxTokens, ownerOf[tokenKey, string]
		l.tokens.Bytes, l.tokens.Weigh = maxTokenBytes, func(_ tokenKey, header owned[string]) int { return len(header.value) }
		l.asking.Doing, l.asking.Panics = "asking a registry for a token", c.Panics
	})
}

// Close cancels the requests for tokens that are under way and waits for them.
func (l *Learned) Close() { l.asking.Close() }
