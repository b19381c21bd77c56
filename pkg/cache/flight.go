// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"slices"
	"time"
)

// flight is one call with its callers. It passes through three states:
//
//	          an attempt starts            it has a result
//	waiting ────────────────────▶ started ─────────────────▶ done
//
// While it is waiting, it has an attempt for each namespace that wants the result. An attempt waits
// for the turn of its namespace, so that no namespace waits behind the queue of another one. It
// ends early if it fails or if its last caller leaves. A flight without attempts and callers is
// dropped.
//
// The attempt whose turn comes first starts the call, and is shared: its result is for the callers
// of all namespaces, and the other attempts are cancelled. Callers that are Fresh no longer join,
// but create the next flight. While the attempt waits for another turn of its namespace, or if it
// fails by an error that is for its namespace alone, the callers of other namespaces make attempts
// of their own again. Then several attempts may run, and the first result is for all.
//
// When it is done, it has the final result, and the next caller creates a new flight.
type flight[K comparable, V any] struct {
	key   K
	done  chan struct{} // closed when the flight is done
	value V             // final when done is closed, and so is err
	err   error

	// Guarded by Flights.mu.
	attempts    map[string]*attempt[K, V] // those that wait or have started, by namespace
	shared      *attempt[K, V]            // the one that has started and that all rely on, or nil
	begun       bool                      // an attempt has started
	wasUnshared bool                      // one that had started was not shared for a while
	changed     chan struct{}             // closed and replaced when callers have to look again
	watched     bool                      // a caller wants to know when an attempt waits (OnWait)
	callers     int
	previous    *flight[K, V] // an earlier one that was not over when this one was created, or nil
	cancelled   bool          // because too many had no callers
}

// attempt waits for the turn of one namespace, and then runs the call.
type attempt[K comparable, V any] struct {
	flight    *flight[K, V]
	namespace string
	after     <-chan struct{} // closed when the attempt may begin to wait; nil: at once
	cancel    context.CancelFunc
	returned  chan struct{} // closed when the call has returned

	// Guarded by Flights.mu.
	callers    int   // of its own namespace
	started    bool  // Turn.Start has succeeded
	waits      bool  // between Turn.Wait and its end
	unreliable bool  // since it has started, it has waited too long to be shared
	turnFailed bool  // the turn that it waited for has not come
	ended      bool  // it was taken out of flight.attempts
	err        error // why it has failed, for the callers of its namespace; nil if it was cancelled
}

// newFlightLocked returns a flight that comes after previous, which may be nil. Flights that are
// over are taken out of the chain.
func newFlightLocked[K comparable, V any](key K, previous *flight[K, V]) *flight[K, V] {
	created := &flight[K, V]{
		key: key, done: make(chan struct{}), changed: make(chan struct{}),
		attempts: map[string]*attempt[K, V]{}, previous: previous,
	}
	for at := created; at.previous != nil; {
		if at.previous.isOverLocked() {
			at.previous = at.previous.previous
		} else {
			at = at.previous
		}
	}
	return created
}

func (f *flight[K, V]) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// isOverLocked reports whether the flight is done or has no attempts left.
func (f *flight[K, V]) isOverLocked() bool { return f.isDone() || len(f.attempts) == 0 }

// hasStartedLocked reports whether an attempt has started that is not over.
func (f *flight[K, V]) hasStartedLocked() bool {
	for _, a := range f.attempts {
		if a.started {
			return true
		}
	}
	return false
}

// shareLocked chooses an attempt that all callers can rely on, if there is one.
func (f *flight[K, V]) shareLocked() {
	for _, a := range f.attempts {
		if f.shared == nil && a.started && !a.unreliable {
			f.shared = a
		}
	}
}

// unshareLocked ends the time in which all callers rely on an attempt. It is shared again when it
// calls Turn.Start, if no other one is then.
func (f *flight[K, V]) unshareLocked(own *attempt[K, V]) {
	own.unreliable = true
	if f.shared == own && !f.isDone() {
		f.shared, f.wasUnshared = nil, true
		f.shareLocked() // another one
		f.changeLocked()
	}
}

// changeLocked makes all callers call ensureAttempt again.
func (f *flight[K, V]) changeLocked() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// tellWaitLocked makes callers call ensureAttempt again that want to know whether an attempt waits.
func (f *flight[K, V]) tellWaitLocked() {
	if f.watched {
		f.changeLocked()
	}
}

// attemptLocked creates an attempt for a caller. If its namespace has one that has started in an
// earlier flight, it waits for the end of that, so that many Fresh callers don't make many calls.
func (f *Flights[K, V]) attemptLocked(
	ctx context.Context, s *seat[K, V], call func(context.Context, Turn) (V, error),
) *attempt[K, V] {
	joined := s.flight
	own := &attempt[K, V]{flight: joined, namespace: s.Namespace, returned: make(chan struct{})}
	for p := joined.previous; p != nil && own.after == nil; p = p.previous {
		if other := p.attempts[s.Namespace]; other != nil && other.started {
			own.after = other.returned
		}
	}
	joined.attempts[s.Namespace] = own
	own.cancel = f.goLocked(ctx, func(ctx context.Context) { f.run(ctx, own, call) })
	return own
}

// endLocked cancels an attempt, and takes it out of its flight.
func (f *Flights[K, V]) endLocked(own *attempt[K, V]) {
	own.cancel()
	own.ended = true
	delete(own.flight.attempts, own.namespace)
}

// dropLocked ends the time in which callers can join a flight. If it has not begun, they can join
// the one before again that is not over. Otherwise that may be too old for them.
func (f *Flights[K, V]) dropLocked(dropped *flight[K, V]) {
	if f.latest[dropped.key] != dropped {
		return
	}
	delete(f.latest, dropped.key)
	p := dropped.previous
	for p != nil && p.isOverLocked() {
		p = p.previous
	}
	if !dropped.begun && p != nil && !p.cancelled {
		f.latest[p.key] = p
	}
}

// abandonLocked lets a started flight go on without callers, within MaxAbandoned.
func (f *Flights[K, V]) abandonLocked(left *flight[K, V]) {
	f.abandoned = append(f.abandoned, left)
	if f.MaxAbandoned == 0 || len(f.abandoned) <= f.MaxAbandoned {
		return
	}
	first := f.abandoned[0]
	f.adoptLocked(first)
	f.dropLocked(first)
	first.cancelled = true
	for _, a := range first.attempts {
		a.cancel()
	}
}

// adoptLocked removes a flight from the abandoned ones, because it has a caller or is over.
func (f *Flights[K, V]) adoptLocked(adopted *flight[K, V]) {
	f.abandoned = slices.DeleteFunc(f.abandoned, func(a *flight[K, V]) bool { return a == adopted })
}

// goLocked calls run on a goroutine. Its context has the values of ctx, and ends by Timeout, by
// Close or by the function that goLocked returns.
func (f *Flights[K, V]) goLocked(
	ctx context.Context, run func(context.Context),
) (cancel context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if f.Timeout > 0 {
		ctx, cancel = context.WithTimeout(ctx, f.Timeout)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	stop := context.AfterFunc(f.base, cancel)
	f.wg.Go(func() {
		defer cancel()
		defer stop()
		run(ctx)
	})
	return cancel
}

// run makes one attempt at a call.
func (f *Flights[K, V]) run(
	ctx context.Context, own *attempt[K, V], call func(context.Context, Turn) (V, error),
) {
	defer close(own.returned)
	var value V
	turn := Turn{
		Start: func() error { return f.start(own) },
		Wait:  func() (over func(bool)) { return f.wait(own) },
	}
	err := f.Panics.Catch(f.Doing, func() (err error) {
		if own.after != nil {
			select {
			case <-own.after:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		value, err = call(ctx, turn)
		return err
	})
	if err == nil {
		err = f.start(own) // the call may have had its result without starting
	}
	f.finish(own, value, err, ctx.Err() != nil)
}

// finish ends an attempt whose call has returned. A value is for all callers, and so is an error,
// with three exceptions: those of an attempt whose turn has not come, those for which IsOwn is
// true, and those of an attempt that was not shared and had no time left (cut).
func (f *Flights[K, V]) finish(own *attempt[K, V], value V, err error, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	finished := own.flight
	if own.ended || finished.isDone() {
		return
	}
	isOwn := !own.started || own.turnFailed || f.IsOwn != nil && f.IsOwn(err) ||
		finished.shared != own && (cut || errors.Is(err, context.DeadlineExceeded))
	if err != nil && isOwn {
		own.err = err
		f.endLocked(own)
		finished.unshareLocked(own)
		if len(finished.attempts) == 0 && finished.callers == 0 {
			f.dropLocked(finished)
			f.adoptLocked(finished)
		}
		finished.changeLocked()
		return
	}
	finished.value, finished.err = value, err
	close(finished.done)
	f.dropLocked(finished)
	f.adoptLocked(finished)
	for _, a := range finished.attempts {
		a.cancel()
	}
}

// start shares an attempt whose turn has come, and cancels the others. But they keep their turns in
// a flight with an attempt that was not shared for a while. Otherwise a namespace whose attempts
// start, and then wait or fail, again and again, would take the turns of all others.
func (f *Flights[K, V]) start(own *attempt[K, V]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	flight := own.flight
	switch {
	case own.ended, flight.isDone():
		return ErrStarted
	case own.started:
		own.unreliable, own.turnFailed = false, false
		flight.shareLocked()
		return nil
	case flight.shared != nil:
		f.endLocked(own)
		return ErrStarted
	}
	own.started, own.turnFailed, flight.begun, flight.shared = true, false, true, own
	for _, other := range flight.attempts {
		if !flight.wasUnshared && other != own {
			f.endLocked(other)
		}
	}
	flight.tellWaitLocked()
	return nil
}

// wait notes that an attempt waits for a turn of its namespace, until over is called.
func (f *Flights[K, V]) wait(own *attempt[K, V]) (over func(came bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	flight, isOver := own.flight, false
	own.waits = true
	flight.tellWaitLocked()
	timer := time.AfterFunc(patience, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if own.started && !isOver {
			flight.unshareLocked(own)
		}
	})
	return func(came bool) {
		timer.Stop()
		f.mu.Lock()
		defer f.mu.Unlock()
		isOver, own.waits, own.turnFailed = true, false, !came
		if own.started && !came {
			flight.unshareLocked(own)
		}
		flight.tellWaitLocked()
	}
}
