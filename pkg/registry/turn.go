// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// line lets look-ups through to one registry: so many at a time, so many a second, and in turn among the namespaces that
// ask. One namespace has at most half of the places, so that one whose look-ups hang leaves room; those for nobody in
// particular have all. It holds memory for namespaces with look-ups that run or wait alone.
type line struct {
	places int
	rate   *rate.Limiter

	mu      sync.Mutex
	running int
	asking  map[string]*party
	waiting []*party    // with look-ups that wait, whose turn it is first
	passed  bool        // the rate has let one through that has not gone yet
	timer   *time.Timer // until the rate lets the next one through; nil: it was not asked
}

// party is a namespace in a line.
type party struct {
	name    string
	most    int // places
	running int
	queue   []chan struct{} // closed when it is the look-up's turn
}

func newLine(places int, perSecond float64) *line {
	return &line{
		places: places, asking: map[string]*party{},
		rate: rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond))),
	}
}

// enter waits for a turn, within ctx. After it, leave must be called.
func (l *line) enter(ctx context.Context, namespace string) error {
	turn := make(chan struct{})
	l.mu.Lock()
	l.joinLocked(namespace, turn)
	l.dispatchLocked()
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.withdrawLocked(namespace, turn) { // it was its turn in the same instant
		l.leaveLocked(namespace)
	}
	return ctx.Err()
}

func (l *line) leave(namespace string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveLocked(namespace)
}

func (l *line) joinLocked(namespace string, turn chan struct{}) {
	p := l.asking[namespace]
	if p == nil {
		p = &party{name: namespace, most: l.places}
		if namespace != "" {
			p.most = (l.places + 1) / 2
		}
		l.asking[namespace] = p
	}
	if len(p.queue) == 0 {
		l.waiting = append(l.waiting, p)
	}
	p.queue = append(p.queue, turn)
}

// dispatchLocked lets through what may go.
func (l *line) dispatchLocked() {
	for l.running < l.places {
		i := 0
		for i < len(l.waiting) && l.waiting[i].running >= l.waiting[i].most {
			i++
		}
		if i == len(l.waiting) || !l.passLocked() {
			return
		}
		p := l.waiting[i]
		close(p.queue[0])
		p.queue = p.queue[1:]
		p.running++
		l.running++
		l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
		if len(p.queue) > 0 {
			l.waiting = append(l.waiting, p)
		}
	}
}

// passLocked tells whether the rate lets one through now; if not, dispatchLocked is called when it does.
func (l *line) passLocked() bool {
	if l.passed {
		l.passed = false
		return true
	}
	if l.timer != nil {
		return false
	}
	wait := l.rate.Reserve().Delay()
	if wait <= 0 {
		return true
	}
	l.timer = time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.timer, l.passed = nil, true
		l.dispatchLocked()
	})
	return false
}

func (l *line) withdrawLocked(namespace string, turn chan struct{}) bool {
	p := l.asking[namespace]
	for i, waiting := range p.queue {
		if waiting != turn {
			continue
		}
		p.queue = append(p.queue[:i:i], p.queue[i+1:]...)
		if len(p.queue) == 0 {
			l.waiting = without(l.waiting, p)
		}
		l.forgetLocked(p)
		return true
	}
	return false
}

func (l *line) leaveLocked(namespace string) {
	p := l.asking[namespace]
	p.running--
	l.running--
	l.forgetLocked(p)
	l.dispatchLocked()
}

func (l *line) forgetLocked(p *party) {
	if p.running == 0 && len(p.queue) == 0 {
		delete(l.asking, p.name)
	}
}

func without(list []*party, p *party) []*party {
	for i, q := range list {
		if q == p {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
