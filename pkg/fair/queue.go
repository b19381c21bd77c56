// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Queue admits callers when there are enough free units. Namespaces take turns, and the callers of
// one namespace enter in the order of their arrival. The zero value admits every caller at once.
// The fields must not change after the first call. It is safe for concurrent use.
type Queue struct {
	// Capacity is the maximum number of units in use. If 0, there is none.
	Capacity int64
	// Share is the maximum number of units that one namespace uses. Default: Capacity. The empty
	// namespace, which a command line has, may use all of Capacity.
	Share int64
	// Backlog is the maximum number of waiting callers of one namespace. If 0, there is none.
	Backlog int
	// PerSecond is the maximum number of callers that enter in a second. After a pause, as many may
	// enter at once. If 0, there is no maximum.
	PerSecond float64

	mu                sync.Mutex
	inUse             int64
	members           map[string]*member
	turns             []*member // the namespaces with waiting callers; the first one is next
	refused, timedOut uint64
	limiter           *rate.Limiter // nil without PerSecond
	granted           bool          // the limiter has granted an entry that was not used yet
	timer             *time.Timer   // runs until the limiter grants the next entry, or nil
}

// member is a namespace that uses units or waits for them.
type member struct {
	namespace string
	inUse     int64
	waiting   []*ticket
}

// ticket is one caller.
type ticket struct {
	member   *member
	weight   int64
	admitted chan struct{} // closed when the caller may enter
}

// Enter waits until weight units are free for the namespace and takes them. leave gives them back,
// and must be called exactly once. The error is ErrFull, ErrTooLarge or that of ctx.
func (q *Queue) Enter(
	ctx context.Context, namespace string, weight int64,
) (leave func(), err error) {
	return q.EnterNotify(ctx, namespace, weight, nil)
}

// EnterNotify is like Enter. If the caller has to wait, it calls onWait before that, and over after
// it, which gets whether the caller enters. onWait may be nil.
func (q *Queue) EnterNotify(
	ctx context.Context, namespace string, weight int64, onWait func() (over func(enters bool)),
) (leave func(), err error) {
	t, err := q.join(namespace, weight)
	if err != nil {
		return nil, err
	}
	if onWait != nil {
		select {
		case <-t.admitted:
		default:
			over := onWait()
			defer func() { over(err == nil) }()
		}
	}
	select {
	case <-t.admitted:
	case <-ctx.Done():
		if q.withdraw(t) {
			return nil, ctx.Err()
		}
	}
	return func() { q.leave(t) }, nil
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

// join adds a caller, and admits it if it may enter now.
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
	t := &ticket{member: m, weight: weight, admitted: make(chan struct{})}
	m.waiting = append(m.waiting, t)
	q.admitLocked()
	if q.Backlog > 0 && len(m.waiting) > q.Backlog {
		q.removeLocked(t)
		q.refused++
		return nil, ErrFull
	}
	return t, nil
}

// share returns the maximum number of units for a namespace, or 0 if there is none.
func (q *Queue) share(namespace string) int64 {
	if namespace == "" || q.Share <= 0 {
		return q.Capacity
	}
	return q.Share
}

// admitLocked admits all callers that may enter now. It passes over a namespace that has used up
// its share. A namespace that only lacks free capacity keeps its turn, because small callers could
// otherwise overtake a large one for ever.
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

// rateLocked reports whether the limiter lets a caller enter now. If not, admitLocked is called
// when it does.
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

func (q *Queue) leave(t *ticket) {
	q.mu.Lock()
	defer q.mu.Unlock()
	t.member.inUse -= t.weight
	q.inUse -= t.weight
	q.forgetLocked(t.member)
	q.admitLocked()
}

// withdraw removes a caller that no longer waits. It returns false if the caller was admitted
// already.
func (q *Queue) withdraw(t *ticket) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !slices.Contains(t.member.waiting, t) {
		return false
	}
	q.removeLocked(t)
	q.timedOut++
	q.admitLocked() // callers may have waited behind this one
	return true
}

func (q *Queue) removeLocked(t *ticket) {
	m := t.member
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
