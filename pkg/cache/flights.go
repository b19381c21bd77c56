// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/panics"
)

// ErrClosed is returned by Do and DoQueued after Close.
var ErrClosed = errors.New("shutting down")

// ErrStarted is returned by the start function of DoQueued if a call of another namespace for the
// same key has started first. Its callers get the result of that call.
var ErrStarted = errors.New("another call for the same key has started")

// Flights shares a call among the callers that want the same key at the same time. The fields must
// not change after the first call. The zero value is ready. It is safe for concurrent use.
//
// Each call runs on its own goroutine with the values of the first caller's context, but not with
// its end: a call that has started goes on when its callers give up, so that later callers can have
// the result. A panic in a call is an error for all of its callers (*panics.Error).
type Flights[K comparable, V any] struct {
	// MaxAbandoned is the maximum number of running calls whose callers have all given up. If there
	// are more, the one that was left first is cancelled. If 0, there is no maximum.
	MaxAbandoned int
	// Timeout is the maximum time for a call, including the wait for its turn. If 0, there is none.
	Timeout time.Duration
	// Doing says what a call does, for the text of a panic: "reading a pull secret".
	Doing string
	// Panics reports panics. If nil, they are not reported.
	Panics *panics.Reporter

	mu        sync.Mutex
	latest    map[K]*flight[K, V] // the flights that callers can join
	abandoned []*flight[K, V]     // the running flights without callers, in the order of leaving
	base      context.Context     // ended by Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup
}

// Caller says who calls DoQueued, and which calls it may share.
type Caller struct {
	// Namespace is the namespace whose turn the call waits for.
	Namespace string
	// Fresh is true if the call must start after this caller has asked. The caller then shares a call
	// that is waiting, but not one that is running.
	Fresh bool
}

// Do returns the result of call for a key, or of a call for the key that is running already. Its
// error is that of the call, ErrClosed, or the error of ctx.
func (f *Flights[K, V]) Do(
	ctx context.Context, key K, call func(context.Context) (V, error),
) (V, error) {
	return f.DoQueued(ctx, key, Caller{},
		func(ctx context.Context, start func() error) (value V, err error) {
			if err := start(); err != nil {
				return value, err
			}
			return call(ctx)
		})
}

// DoQueued is like Do for a call that waits in a queue first. When its turn has come, and before it
// does anything that others may share, call must call start. If start returns an error, call must
// return it. start may be called again. If call returns an error without having started, only the
// callers of its own namespace get the error.
func (f *Flights[K, V]) DoQueued(
	ctx context.Context, key K, c Caller,
	call func(ctx context.Context, start func() error) (V, error),
) (value V, err error) {
	own, err := f.join(ctx, key, c, call)
	if err != nil {
		return value, err
	}
	defer f.leave(own)
	select {
	case <-own.flight.done:
		return own.flight.value, own.flight.err
	case <-own.failed:
		return value, own.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// join adds a caller to an attempt: the running one, or the waiting one of the caller's namespace.
// If there is none, join creates it.
func (f *Flights[K, V]) join(
	ctx context.Context, key K, c Caller, call func(context.Context, func() error) (V, error),
) (*attempt[K, V], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.initLocked()
	if f.base.Err() != nil {
		return nil, ErrClosed
	}
	shared := f.latest[key]
	if shared == nil || shared.running != nil && c.Fresh {
		shared = &flight[K, V]{
			key: key, previous: shared,
			done: make(chan struct{}), waiting: map[string]*attempt[K, V]{},
		}
		f.latest[key] = shared
	}
	own := shared.running
	if own == nil {
		own = shared.waiting[c.Namespace]
	}
	if own == nil {
		own = &attempt[K, V]{
			flight: shared, namespace: c.Namespace, failed: make(chan struct{}),
		}
		// A namespace has at most two calls for a key, however many Fresh callers it has: the running
		// one, and one that waits for it.
		if p := shared.previous; p != nil && p.running.namespace == c.Namespace {
			own.after = p.done
		}
		shared.waiting[c.Namespace] = own
		own.cancel = f.goLocked(ctx, func(ctx context.Context) { f.run(ctx, own, call) })
	}
	own.callers++
	shared.callers++
	f.adoptLocked(shared)
	return own, nil
}

// leave removes a caller that has a result or has given up.
func (f *Flights[K, V]) leave(own *attempt[K, V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shared := own.flight
	own.callers--
	shared.callers--
	switch {
	case shared.running == nil && own.callers == 0 && shared.waiting[own.namespace] == own:
		own.cancel()
		f.removeLocked(own)
	case shared.running != nil && shared.callers == 0 && !shared.isDone():
		f.abandonLocked(shared)
	}
}

func (f *Flights[K, V]) initLocked() {
	if f.latest == nil {
		f.latest = map[K]*flight[K, V]{}
		f.base, f.cancel = context.WithCancel(context.Background())
	}
}

// Close cancels the calls that are waiting or running, and waits for them to return. Later calls
// fail with ErrClosed.
func (f *Flights[K, V]) Close() {
	f.mu.Lock()
	f.initLocked()
	f.cancel()
	f.mu.Unlock()
	f.wg.Wait()
}
