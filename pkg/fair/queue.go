// SPDX-License-Identifier: Apache-2.0

// Package fair shares a bounded resource among namespaces, so that one that asks for a thousand
// things at once leaves room for the others.
//
//	places := &fair.Queue{Capacity: 32, Share: 8, Backlog: 128}
//	leave, err := places.Enter(ctx, namespace, 1)
//	if err != nil {
//		return err
//	}
//	defer leave()
//
// A Queue counts units: requests that are under way, or bytes that are held. Namespaces take turns;
// within one namespace the order is that of arrival. The package does not know what a unit is, and
// holds memory only for namespaces that use units or wait for them.
package fair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// ErrFull reports that there is no room: in a Queue, Backlog callers of the namespace are waiting.
var ErrFull = errors.New("too many are waiting")

// ErrTooLarge reports that a weight can never be admitted.
var ErrTooLarge = errors.New("larger than the whole share of a namespace")

// Queue admits callers to a bounded resource. The zero value admits everybody at once. The exported
// fields must not change after the first call. It is safe for concurrent use.
type Queue struct {
	// Capacity is the number of units that may be in use at once. 0: no bound.
	Capacity int64
	// Share is the number of units that one namespace may use at once. 0: Capacity. The empty
	// namespace stands for nobody in particular (a command line) and may use all of Capacity.
	Share int64
	// Backlog is the number of callers of one namespace that may wait at once. 0: no bound.
	Backlog int
	// PerSecond is the rate at which callers are admitted. After a pause, a burst of one second's
	// worth is admitted at once. 0: no bound.
	PerSecond float64

	mu                sync.Mutex
	inUse             int64
	members           map[string]*member
	turns             []*member // with callers that wait; the first one is next
	refused, timedOut uint64
	limiter           *rate.Limiter // nil: no bound
	granted           bool          // the limiter has admitted one caller that has not entered yet
	timer             *time.Timer   // runs until the limiter admits the next caller; nil: it was not asked
}

// member is a namespace that uses units or waits for them.
type member struct {
	namespace string
	inUse     int64
	waiting   []*ticket
}

// ticket is one caller that waits.
type ticket struct {
	weight   int64
	admitted chan struct{} // closed when the caller may enter
}

// Enter waits until weight units are free for the namespace and takes them; leave gives them back
// and must be called exactly once. Its error is ErrFull, ErrTooLarge, or that of ctx.
func (q *Queue) Enter(ctx context.Context, namespace string, weight int64) (leave func(), err error) {
	t, err := q.join(namespace, weight)
	if err != nil {
		return nil, err
	}
	leave = func() { q.leave(namespace, weight) }
	select {
	case <-t.admitted:
		return leave, nil
	default:
	}
	select {
	case <-t.admitted:
		return leave, nil
	case <-ctx.Done():
	}
	if !q.withdraw(namespace, t) { // it was admitted in the same instant
		leave()
	}
	return nil, ctx.Err()
}

// Stats is what a Queue is doing.
type Stats struct {
	Capacity int64  // units; 0: no bound
	InUse    int64  // units
	Waiting  int    // callers
	Refused  uint64 // callers that got ErrFull or ErrTooLarge, since the start
	TimedOut uint64 // callers that left while they waited, as their time was over, since the start
}

func (s *Stats) add(more Stats) {
	s.InUse += more.InUse
	s.Waiting += more.Waiting
	s.Refused += more.Refused
	s.TimedOut += more.TimedOut
}

// Stats returns the state of the queue.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Capacity: q.Capacity, InUse: q.inUse, Refused: q.refused, TimedOut: q.timedOut}
	for _, m := range q.turns {
		s.Waiting += len(m.waiting)
	}
	return s
}

// Idle reports whether nobody uses a unit or waits for one.
func (q *Queue) Idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.members) == 0
}

func (q *Queue) join(namespace string, weight int64) (*ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.members == nil {
		q.members = map[string]*member{}
		if q.PerSecond > 0 {
			q.limiter = rate.NewLimiter(rate.Limit(q.PerSecond), max(1, int(q.PerSecond)))
		}
	}
	if most := q.share(namespace); most > 0 && weight > most {
		q.refused++
		return nil, ErrTooLarge
	}
	m := q.members[namespace]
	if m == nil {
		m = &member{namespace: namespace}
		q.members[namespace] = m
	}
	if len(m.waiting) == 0 {
		q.turns = append(q.turns, m)
	}
	t := &ticket{weight: weight, admitted: make(chan struct{})}
	m.waiting = append(m.waiting, t)
	q.admitLocked()
	if q.Backlog > 0 && len(m.waiting) > q.Backlog {
		q.removeLocked(m, t)
		q.refused++
		return nil, ErrFull
	}
	return t, nil
}

// share is the number of units that a namespace may use; 0: no bound.
func (q *Queue) share(namespace string) int64 {
	if namespace == "" || q.Share <= 0 {
		return q.Capacity
	}
	return q.Share
}

// admitLocked admits all callers that may enter now. A namespace that has used up its share is
// passed over. One that only lacks free capacity keeps its turn, so that small callers can't keep a
// large one waiting for ever.
func (q *Queue) admitLocked() {
	for {
		i := slices.IndexFunc(q.turns, func(m *member) bool {
			most := q.share(m.namespace)
			return most <= 0 || m.inUse+m.waiting[0].weight <= most
		})
		if i < 0 {
			return
		}
		m := q.turns[i]
		t := m.waiting[0]
		if q.Capacity > 0 && q.inUse+t.weight > q.Capacity || !q.rateLocked() {
			return
		}
		q.turns = slices.Delete(q.turns, i, i+1)
		if m.waiting = m.waiting[1:]; len(m.waiting) > 0 {
			q.turns = append(q.turns, m)
		}
		m.inUse += t.weight
		q.inUse += t.weight
		close(t.admitted)
	}
}

// rateLocked reports whether the rate admits a caller now. If not, it arranges that admitLocked is
// called when it does.
func (q *Queue) rateLocked() bool {
	switch {
	case q.limiter == nil:
		return true
	case q.granted:
		q.granted = false
		return true
	case q.timer != nil:
		return false
	}
	wait := q.limiter.Reserve().Delay()
	if wait <= 0 {
		return true
	}
	q.timer = time.AfterFunc(wait, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.timer, q.granted = nil, true
		q.admitLocked()
	})
	return false
}

func (q *Queue) leave(namespace string, weight int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.members[namespace]
	m.inUse -= weight
	q.inUse -= weight
	q.forgetLocked(m)
	q.admitLocked()
}

// withdraw takes a caller out of the queue. It returns false if the caller was admitted before.
func (q *Queue) withdraw(namespace string, t *ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	m := q.members[namespace]
	if !slices.Contains(m.waiting, t) {
		return false
	}
	q.removeLocked(m, t)
	q.timedOut++
	q.admitLocked() // others may have waited for its turn to pass
	return true
}

func (q *Queue) removeLocked(m *member, t *ticket) {
	i := slices.Index(m.waiting, t)
	m.waiting = slices.Delete(m.waiting, i, i+1)
	if len(m.waiting) == 0 {
		at := slices.Index(q.turns, m)
		q.turns = slices.Delete(q.turns, at, at+1)
	}
	q.forgetLocked(m)
}

func (q *Queue) forgetLocked(m *member) {
	if m.inUse == 0 && len(m.waiting) == 0 {
		delete(q.members, m.namespace)
	}
}
