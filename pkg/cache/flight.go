// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"slices"
)

// flight is one call with its callers. It passes through three states:
//
//	          an attempt starts            its function returns
//	waiting ────────────────────▶ running ──────────────────────▶ done
//
// While it is waiting, it has an attempt for each namespace that wants the result. An attempt waits
// for the turn of its namespace, so that no namespace waits behind the queue of another one. It
// ends early if it fails or if its last caller leaves. A flight without attempts is dropped.
//
// The attempt whose turn comes first starts the call. From then on the flight is running, and the
// other attempts are cancelled. Their callers get the result of the running one. Callers that are
// Fresh no longer join, but create the next flight.
//
// When it is done, it has the final result, and the next caller creates a new flight.
type flight[K comparable, V any] struct {
	key   K
	done  chan struct{} // closed when the flight is done
	value V             // final when done is closed, and so is err
	err   error

	// Guarded by Flights.mu.
	waiting   map[string]*attempt[K, V] // the attempts that can start, by namespace
	running   *attempt[K, V]            // the attempt that has started; nil while waiting
	callers   int                       // of all attempts
	previous  *flight[K, V]             // was running when this one was created; nil if none was
	cancelled bool                      // because too many had no callers
}

// attempt waits for the turn of one namespace, and then runs the call.
type attempt[K comparable, V any] struct {
	flight    *flight[K, V]
	namespace string
	after     <-chan struct{} // closed when the attempt may begin to wait; nil: at once
	cancel    context.CancelFunc
	callers   int           // guarded by Flights.mu
	failed    chan struct{} // closed when the attempt has failed without starting
	err       error         // final when failed is closed
}

// removeLocked removes an attempt from a waiting flight. If it was the last one, the flight is
// dropped, and callers can join the previous one again if that is still running and not cancelled.
func (f *Flights[K, V]) removeLocked(own *attempt[K, V]) {
	shared := own.flight
	delete(shared.waiting, own.namespace)
	if len(shared.waiting) > 0 {
		return
	}
	f.dropLocked(shared)
	if p := shared.previous; p != nil && !p.cancelled && !p.isDone() && f.latest[p.key] == nil {
		f.latest[p.key] = p
	}
}

// dropLocked ends the time in which callers can join a flight.
func (f *Flights[K, V]) dropLocked(shared *flight[K, V]) {
	if f.latest[shared.key] == shared {
		delete(f.latest, shared.key)
	}
}

func (f *flight[K, V]) isDone() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// abandonLocked lets a running flight go on without callers, within MaxAbandoned.
func (f *Flights[K, V]) abandonLocked(shared *flight[K, V]) {
	f.abandoned = append(f.abandoned, shared)
	if f.MaxAbandoned == 0 || len(f.abandoned) <= f.MaxAbandoned {
		return
	}
	first := f.abandoned[0]
	f.adoptLocked(first)
	f.dropLocked(first)
	first.cancelled = true
	first.running.cancel()
}

// adoptLocked removes a flight from the abandoned ones, because it has a caller or is done.
func (f *Flights[K, V]) adoptLocked(shared *flight[K, V]) {
	f.abandoned = slices.DeleteFunc(f.abandoned, func(a *flight[K, V]) bool { return a == shared })
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
	ctx context.Context, own *attempt[K, V], call func(context.Context, func() error) (V, error),
) {
	var value V
	err := f.Panics.Catch(f.Doing, func() (err error) {
		if own.after != nil {
			select {
			case <-own.after:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		value, err = call(ctx, func() error { return f.start(own) })
		return err
	})
	if err == nil {
		err = f.start(own) // the call may have had its result without starting
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	shared := own.flight
	switch {
	case shared.running == own:
		shared.value, shared.err, shared.previous = value, err, nil
		f.dropLocked(shared)
		f.adoptLocked(shared)
		close(shared.done)
	case shared.running == nil && shared.waiting[own.namespace] == own:
		own.err = err
		f.removeLocked(own)
		close(own.failed)
	}
}

// start makes a waiting flight run by an attempt, and cancels its other attempts.
func (f *Flights[K, V]) start(own *attempt[K, V]) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	shared := own.flight
	switch {
	case shared.running == own:
		return nil
	case shared.running != nil:
		return ErrStarted
	case shared.waiting[own.namespace] != own: // its callers have left
		return context.Canceled
	}
	shared.running = own
	for _, other := range shared.waiting {
		if other != own {
			other.cancel()
		}
	}
	return nil
}
