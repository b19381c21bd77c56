// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"strings"
	"sync"

	"github.com/tagpin/tagpin/pkg/fair"
)

// limiter bounds the requests to one registry. A lookup holds one slot for the requests of all its
// credentials, so that no more lookups are under way than there are slots. It gives the slot back
// while it waits for a gate that another request tries, and when it is redirected to another host;
// the next request takes one again. Each HEAD and each GET of a credential waits for the rate once.
// The repetition after a challenge does not wait again, nor does a request for a token, except at a
// token endpoint that is not the registry's own: there the bounds of that host hold (visit).
type limiter struct {
	slots fair.Queue
	rate  fair.Queue // nothing stays in it

	users int // guarded by limiters.mu
}

// limiterKey identifies a registry with its bounds. If the config changes them, the registry gets
// another limiter.
type limiterKey struct {
	server    string
	slots     int
	perSecond float64
}

// limiters has the limiter of each registry. One that is in use is always kept. At most maxLimiters
// others are kept too, since they remember how fast each registry was asked.
type limiters struct {
	mu    sync.Mutex
	inUse map[limiterKey]*limiter
	known memory[limiterKey, *limiter]
}

// slot is a lookup's slot among the requests of its registry, and its place among the GETs of all
// registries. The zero value is not taken.
type slot struct {
	limiter  *limiter
	release  func()
	leaveGet func() // nil if no GET is under way
}

// leave gives back what is taken.
func (s *slot) leave() {
	s.endGet()
	s.leaveRegistry()
}

// leaveRegistry gives the slot back. The place of a GET is kept.
func (s *slot) leaveRegistry() {
	if s.release != nil {
		s.release()
		s.limiter, s.release = nil, nil
	}
}

// endGet gives the place of a GET back, if it is taken.
func (s *slot) endGet() {
	if s.leaveGet != nil {
		s.leaveGet()
		s.leaveGet = nil
	}
}

// take takes a slot and waits for it.
func (l *limiters) take(
	ctx context.Context, key limiterKey, namespace string, onWait func() (over func(bool)),
) (slot, error) {
	used, unuse := l.use(key, namespace)
	leave, err := used.slots.EnterNotify(ctx, namespace, 1, onWait)
	if err != nil {
		unuse()
		return slot{}, err
	}
	return slot{limiter: used, release: func() { leave(); unuse() }}, nil
}

// use returns the limiter of a registry. One namespace has at most half of the slots, so that
// lookups that hang leave room for other namespaces.
func (l *limiters) use(key limiterKey, namespace string) (used *limiter, unuse func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	used = l.inUse[key]
	if used == nil {
		used, _ = l.known.Get(key)
	}
	if used == nil {
		key.server = strings.Clone(key.server) // which may be part of a long address
		slots := int64(key.slots)
		used = &limiter{
			slots: fair.Queue{Capacity: slots, Share: (slots + 1) / 2},
			rate:  fair.Queue{PerSecond: key.perSecond},
		}
	}
	if l.inUse == nil {
		l.inUse = map[limiterKey]*limiter{}
	}
	l.inUse[key] = used
	l.known.Put(key, used, namespace, 0)
	used.users++
	return used, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if used.users--; used.users == 0 {
			delete(l.inUse, key)
		}
	}
}
