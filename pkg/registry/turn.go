// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"sync"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
)

// queueKey is a registry with the bounds of its queue: a config that changes them gets a new queue.
type queueKey struct {
	origin    string
	places    int
	perSecond float64
}

// queues holds one queue for each registry. A queue in use is always kept. At most maxQueues idle ones
// are kept too, to remember how fast each registry was asked.
type queues struct {
	mu    sync.Mutex
	inUse map[queueKey]*queue
	idle  cache.Memory[queueKey, *queue]
}

// queue is that of one registry. A look-up waits for a place once, and each of its requests for a
// turn.
type queue struct {
	places fair.Queue
	rate   fair.Queue // nobody stays in it

	users int    // guarded by queues.mu
	owner string // the namespace that asked the registry; empty where several have
}

// enter waits for a place in the queue of a registry. One namespace has at most half of the places,
// so that one whose look-ups hang leaves room for others.
func (q *queues) enter(ctx context.Context, key queueKey, namespace string) (*Place, error) {
	used := q.use(key, namespace)
	out, err := used.places.Enter(ctx, namespace, 1)
	if err != nil {
		q.unuse(key, used)
		return nil, err
	}
	return &Place{queue: used, leave: func() {
		out()
		q.unuse(key, used)
	}}, nil
}

// turn waits until the rate allows one more request. Namespaces take turns.
func (q *queue) turn(ctx context.Context, namespace string) error {
	leave, err := q.rate.Enter(ctx, namespace, 1)
	if err == nil {
		leave()
	}
	return err
}

func (q *queues) use(key queueKey, namespace string) *queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	used := q.inUse[key]
	known := used != nil
	if !known {
		if used, known = q.idle.Get(key); !known {
			used = newQueue(key)
		}
		if q.inUse == nil {
			q.inUse = map[queueKey]*queue{}
		}
		q.inUse[key] = used
	}
	used.owner = ownerAfter(used.owner, known, namespace)
	used.users++
	return used
}

func newQueue(key queueKey) *queue {
	places := int64(key.places)
	return &queue{
		places: fair.Queue{Capacity: places, Share: (places + 1) / 2},
		rate:   fair.Queue{PerSecond: key.perSecond},
	}
}

func (q *queues) unuse(key queueKey, used *queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if used.users--; used.users == 0 {
		delete(q.inUse, key)
		q.idle.Put(key, used, 0)
	}
}

// Place is a place in the queue of a registry. A look-up keeps it for all its requests, so that a
// GET waits for no more than the registry's rate. The zero value has none yet.
type Place struct {
	queue *queue
	leave func()
}

// Leave gives the place back, if there is one.
func (p *Place) Leave() {
	if p.leave != nil {
		p.leave()
		*p = Place{}
	}
}

// enter waits for a place of the look-up's registry, unless it has one, and for a turn of the rate.
func (p *Place) enter(ctx context.Context, l *lookup) error {
	if p.leave == nil {
		key := queueKey{l.origin, l.host.MaxInFlight, l.host.RequestsPerSecond}
		entered, err := l.state.queues.enter(ctx, key, l.req.Namespace)
		if err != nil {
			return err
		}
		*p = *entered
	}
	return p.queue.turn(ctx, l.req.Namespace)
}

// turn is a look-up's time to make a request: it has a place in the registry's queue, and is the one
// that tries the gates that it holds.
type turn struct {
	gates *gates
	held  []*gate
	own   *Place // of this request alone
}

// end gives back what is of this request alone. answered says that the registry has answered, whatever
// it said.
func (t *turn) end(answered bool) {
	t.gates.done(t.held, answered)
	t.own.Leave()
}

// errTrying says that another request is finding out whether a gate can be opened.
var errTrying = errors.New("another request is trying")

// turn waits until no gate is closed, nobody else is trying one, and there is a place in the registry's
// queue. A look-up that waits for what comes of another one's try holds no place meanwhile.
func (l *lookup) turn(ctx context.Context) (*turn, error) {
	own := new(Place)
	place := l.req.Place
	if place == nil {
		place = own
	}
	for {
		if err := l.state.gates.wait(ctx, l.gates(), place.Leave); err != nil {
			return nil, l.noTurn(err)
		}
		if err := place.enter(ctx, l); err != nil {
			own.Leave()
			return nil, l.noTurn(err)
		}
		held, err := l.state.gates.take(l.gates())
		if err == nil && l.req.Begin != nil {
			err = l.req.Begin()
		}
		t := &turn{gates: l.state.gates, held: held, own: own}
		switch {
		case err == nil:
			return t, nil
		case errors.Is(err, errTrying):
			t.end(false)
		default:
			t.end(false)
			return nil, l.noTurn(err)
		}
	}
}

// noTurn is the error of a look-up that may not ask.
func (l *lookup) noTurn(err error) error {
	switch {
	case errors.Is(err, cache.ErrStarted):
		return err
	case AsError(err) != nil: // of a gate that is closed
		l.countClosed()
		return err
	}
	return &Error{Host: l.host.Name, Reason: "no place among the requests to it within the time allowed", err: err}
}
