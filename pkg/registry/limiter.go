// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"sync"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
)

// limiter bounds the requests to one registry. A lookup takes a slot once, and holds it for all its
// requests: at most so many lookups are under way. Each of the requests then waits for the rate.
type limiter struct {
	slots fair.Queue
	rate  fair.Queue // nothing stays in it

	users int    // guarded by limiters.mu
	owner string // the namespace that asks the registry; empty if several do
}

// limiterKey identifies a registry with its bounds. If the config changes them, the registry gets
// another limiter.
type limiterKey struct {
	origin    string
	slots     int
	perSecond float64
}

// limiters has the limiter of each registry. One that is in use is always kept. At most maxLimiters
// others are kept too, since they remember how fast each registry was asked.
type limiters struct {
	mu    sync.Mutex
	inUse map[limiterKey]*limiter
	idle  cache.Memory[limiterKey, *limiter]
}

// slot is a lookup's slot among the requests of its registry. The zero value is not taken.
type slot struct {
	limiter *limiter
	release func()
}

// leave gives the slot back, if it is taken.
func (s *slot) leave() {
	if s.release != nil {
		s.release()
		*s = slot{}
	}
}

// take takes a slot and waits for it. One namespace has at most half of the slots, so that lookups
// that hang leave room for other namespaces.
func (l *limiters) take(ctx context.Context, key limiterKey, namespace string) (slot, error) {
	used := l.use(key, namespace)
	leave, err := used.slots.Enter(ctx, namespace, 1)
	if err != nil {
		l.unuse(key, used)
		return slot{}, err
	}
	return slot{limiter: used, release: func() {
		leave()
		l.unuse(key, used)
	}}, nil
}

func (l *limiters) use(key limiterKey, namespace string) *limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	used, known := l.inUse[key]
	if !known {
		if used, known = l.idle.Get(key); !known {
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
	}
	used.owner = ownerAfter(used.owner, known, namespace)
	used.users++
	return used
}

func (l *limiters) unuse(key limiterKey, used *limiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if used.users--; used.users == 0 {
		delete(l.inUse, key)
		l.idle.Put(key, used, 0)
	}
}

// begin waits until the lookup may send a request: all its gates are open or may be tried, it has a
// slot, and the rate allows a request. It returns the gates that the request tries. A lookup that
// waits for what comes of another one's try holds no slot meanwhile.
func (l *lookup) begin(ctx context.Context) ([]*gate, error) {
	for waited := false; ; {
		taken, trying, err := l.state.gates.pass(l.gates(), waited)
		switch {
		case err != nil:
			l.countClosed()
			return nil, err
		case trying != nil:
			l.slot.leave()
			waited = false
			select {
			case <-trying:
			case <-ctx.Done():
				return nil, l.late(ctx.Err())
			}
		case !waited:
			if err := l.wait(ctx); err != nil {
				return nil, l.late(err)
			}
			waited = true
		default:
			if l.Begin != nil {
				err = l.Begin()
			}
			if err != nil {
				l.state.gates.done(taken, false)
			}
			return taken, err
		}
	}
}

// wait waits for a slot, if the lookup has none, and for the rate.
func (l *lookup) wait(ctx context.Context) (err error) {
	if l.slot.limiter == nil {
		key := limiterKey{l.origin(), l.MaxInFlight, l.RequestsPerSecond}
		if *l.slot, err = l.state.limiters.take(ctx, key, l.Namespace); err != nil {
			return err
		}
	}
	leave, err := l.slot.limiter.rate.Enter(ctx, l.Namespace, 1)
	if err == nil {
		leave()
	}
	return err
}

func (l *lookup) late(err error) error {
	const reason = "no place among the requests to it within the time allowed"
	return &requestError{host: l.Name, reason: reason, err: err}
}
