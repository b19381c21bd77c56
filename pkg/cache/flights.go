// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/panics"
)

// ErrClosed reports that the Flights were closed.
var ErrClosed = errors.New("shutting down")

// ErrTaken is the error of begin if another namespace's call for the key has begun first. The call
// returns it; its callers get that other result.
var ErrTaken = errors.New("another call for the same key has begun")

// Flights share a call among the callers that want the same key at the same time. A call runs on a
// goroutine of its own and outlives the callers that started it, so that its result is not lost with
// one impatient caller; a panic in it is an error for all who wait (*panics.Error). The exported fields
// must not change after the first call; the zero value is ready. It is safe for concurrent use.
type Flights[K comparable, V any] struct {
	// Timeout bounds a call. 0: no bound but Close.
	Timeout time.Duration
	// Doing says what a call does, for a panic's text: "reading a pull secret".
	Doing string
	// Panics is told of panics.
	Panics *panics.Reporter

	mu     sync.Mutex
	latest map[K]*flight[V] // that can be joined
	base   context.Context  // ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Caller describes who asks. It decides which calls may be shared.
type Caller struct {
	// Namespace is who the call waits its turn for. Each namespace that joins a call that has not
	// begun waits for a turn of its own, and the first turn that comes serves all of them: no
	// namespace waits behind another one's queue.
	Namespace string
	// Fresh asks for a result of after now: a call that has begun before is not joined.
	Fresh bool
}

// flight is a call with its callers. Until it begins it has one attempt for each namespace that asked;
// the first attempt whose turn comes becomes the call.
type flight[V any] struct {
	done  chan struct{} // closed when the fields below are final
	value V
	err   error

	// Guarded by Flights.mu.
	begun   bool
	by      string              // the namespace whose turn came first
	waiting map[string]*attempt // that may still begin, by namespace
}

// attempt is one namespace's wait for a turn.
type attempt struct {
	cancel context.CancelFunc
	failed chan struct{} // closed when it ended without a turn
	err    error         // then
}

// Do returns the result of call for a key, or of one that is under way for it. Its error is the
// call's, ErrClosed, or that of ctx. ctx's values reach the call, its end does not.
func (f *Flights[K, V]) Do(ctx context.Context, key K, call func(context.Context) (V, error)) (V, error) {
	return f.DoInTurn(ctx, key, Caller{}, func(ctx context.Context, begin func() error) (value V, err error) {
		if err := begin(); err != nil {
			return value, err
		}
		return call(ctx)
	})
}

// DoInTurn is Do for a call that waits for a turn before it begins. call must call begin when its turn
// has come, before it does what others may share, and return begin's error if there is one. It may
// call begin again. If it returns an error without having begun, that is an error of its namespace
// alone.
func (f *Flights[K, V]) DoInTurn(
	ctx context.Context, key K, c Caller, call func(ctx context.Context, begin func() error) (V, error),
) (value V, err error) {
	shared, own, err := f.join(ctx, key, c, call)
	if err != nil {
		return value, err
	}
	var failed chan struct{} // nil: never
	if own != nil {
		failed = own.failed
	}
	select {
	case <-shared.done:
		return shared.value, shared.err
	case <-failed:
		return value, own.err
	case <-ctx.Done():
		return value, ctx.Err()
	}
}

// join returns the flight to wait for, and where that has not begun the attempt of the caller's
// namespace.
func (f *Flights[K, V]) join(
	ctx context.Context, key K, c Caller, call func(context.Context, func() error) (V, error),
) (*flight[V], *attempt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.initLocked()
	if f.base.Err() != nil {
		return nil, nil, ErrClosed
	}
	shared := f.latest[key]
	var former *flight[V]
	if shared == nil || shared.begun && c.Fresh {
		former = shared
		shared = &flight[V]{done: make(chan struct{}), waiting: map[string]*attempt{}}
		f.latest[key] = shared
	}
	own := shared.waiting[c.Namespace]
	if shared.begun || own != nil {
		return shared, own, nil
	}
	own = &attempt{failed: make(chan struct{})}
	shared.waiting[c.Namespace] = own
	own.cancel = f.start(ctx, func(ctx context.Context) {
		f.fly(ctx, key, shared, own, c.Namespace, func(ctx context.Context, begin func() error) (value V, err error) {
			if err := await(ctx, former, c.Namespace); err != nil {
				return value, err
			}
			return call(ctx, begin)
		})
	})
	return shared, own, nil
}

// await waits until the namespace's own earlier call for the key has ended. So many fresh requests at
// once cost at most two calls: the one under way, and one after it that the rest share.
func await[V any](ctx context.Context, former *flight[V], namespace string) error {
	if former == nil || former.by != namespace { // it has begun, so that by does not change any more
		return nil
	}
	select {
	case <-former.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start runs f on a goroutine with ctx's values, until Timeout or Close.
func (f *Flights[K, V]) start(ctx context.Context, run func(context.Context)) context.CancelFunc {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(f.base, cancel)
	var timer context.CancelFunc = func() {}
	if f.Timeout > 0 {
		ctx, timer = context.WithTimeout(ctx, f.Timeout)
	}
	f.wg.Go(func() {
		defer cancel()
		defer stop()
		defer timer()
		run(ctx)
	})
	return cancel
}

// fly makes one attempt at a flight.
func (f *Flights[K, V]) fly(
	ctx context.Context, key K, shared *flight[V], own *attempt, namespace string,
	call func(context.Context, func() error) (V, error),
) {
	var value V
	err := f.Panics.Catch(f.Doing, func() (err error) {
		value, err = call(ctx, func() error { return f.begin(shared, namespace) })
		return err
	})
	if err == nil {
		err = f.begin(shared, namespace) // it may have known without asking
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared.begun && shared.by == namespace {
		shared.value, shared.err = value, err
		f.forgetLocked(key, shared)
		close(shared.done)
		return
	}
	if !shared.begun {
		own.err = err
		delete(shared.waiting, namespace)
		close(own.failed)
		if len(shared.waiting) == 0 {
			f.forgetLocked(key, shared)
		}
	}
}

// begin makes a namespace's attempt the flight, unless another one is.
func (f *Flights[K, V]) begin(shared *flight[V], namespace string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if shared.begun {
		if shared.by != namespace {
			return ErrTaken
		}
		return nil
	}
	shared.begun, shared.by = true, namespace
	for other, attempt := range shared.waiting {
		if other != namespace {
			attempt.cancel()
		}
	}
	return nil
}

func (f *Flights[K, V]) forgetLocked(key K, shared *flight[V]) {
	if f.latest[key] == shared {
		delete(f.latest, key)
	}
}

func (f *Flights[K, V]) initLocked() {
	if f.latest == nil {
		f.latest = map[K]*flight[V]{}
	}
	if f.base == nil {
		f.base, f.cancel = context.WithCancel(context.Background())
	}
}

// Close cancels the calls that are under way and waits for them. Later calls fail with ErrClosed.
func (f *Flights[K, V]) Close() {
	f.mu.Lock()
	f.initLocked()
	f.cancel()
	f.mu.Unlock()
	f.wg.Wait()
}
