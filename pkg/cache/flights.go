// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"slices"
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
// goroutine of its own. Once it has begun it outlives the callers that started it, so that its result
// is not lost with one impatient caller; one that waits for its turn ends with its last caller. A panic
// in it is an error for all who wait (*panics.Error). The exported fields must not change after the
// first call; the zero value is ready. It is safe for concurrent use.
type Flights[K comparable, V any] struct {
	// Orphans bounds the calls that go on without a caller: when there are more, the oldest one is
	// cancelled. 0: no bound.
	Orphans int
	// Timeout bounds a call. 0: no bound but Close.
	Timeout time.Duration
	// Doing says what a call does, for a panic's text: "reading a pull secret".
	Doing string
	// Panics is told of panics.
	Panics *panics.Reporter

	mu      sync.Mutex
	latest  map[K]*flight[K, V] // that can be joined
	orphans []*flight[K, V]     // have begun and have no caller; the oldest one first
	base    context.Context     // ended by Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup
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
type flight[K comparable, V any] struct {
	key   K
	done  chan struct{} // closed when the fields below are final
	value V
	err   error

	// Guarded by Flights.mu.
	former  *flight[K, V] // that had begun when this one was made; nil: none had
	callers int
	begun   *attempt            // whose turn came first; nil: none has
	by      string              // its namespace
	waiting map[string]*attempt // that may still begin, by namespace
}

// attempt is one namespace's wait for a turn.
type attempt struct {
	cancel  context.CancelFunc
	callers int           // guarded by Flights.mu
	failed  chan struct{} // closed when it ended without a turn
	err     error         // then
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
	defer f.part(c.Namespace, shared, own)
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
) (*flight[K, V], *attempt, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.initLocked()
	if f.base.Err() != nil {
		return nil, nil, ErrClosed
	}
	shared := f.latest[key]
	if shared == nil || shared.begun != nil && c.Fresh {
		shared = &flight[K, V]{key: key, former: shared, done: make(chan struct{}), waiting: map[string]*attempt{}}
		f.latest[key] = shared
	}
	shared.callers++
	if shared.begun != nil {
		f.adoptLocked(shared)
		return shared, nil, nil
	}
	own := shared.waiting[c.Namespace]
	if own != nil {
		own.callers++
		return shared, own, nil
	}
	own = &attempt{callers: 1, failed: make(chan struct{})}
	shared.waiting[c.Namespace] = own
	former := shared.former
	own.cancel = f.start(ctx, func(ctx context.Context) {
		f.fly(ctx, shared, own, c.Namespace, func(ctx context.Context, begin func() error) (value V, err error) {
			if err := await(ctx, former, c.Namespace); err != nil {
				return value, err
			}
			return call(ctx, begin)
		})
	})
	return shared, own, nil
}

// part notes that a caller waits no longer. own is the attempt that it waited for; nil: the call had
// begun.
func (f *Flights[K, V]) part(namespace string, shared *flight[K, V], own *attempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	shared.callers--
	if own != nil {
		own.callers--
	}
	switch {
	case shared.begun == nil && own.callers == 0 && shared.waiting[namespace] == own:
		own.cancel()
		f.endLocked(namespace, shared)
	case shared.begun != nil && shared.callers == 0:
		f.orphanLocked(shared)
	}
}

// endLocked takes a namespace's attempt out of a flight that has not begun.
func (f *Flights[K, V]) endLocked(namespace string, shared *flight[K, V]) {
	delete(shared.waiting, namespace)
	if len(shared.waiting) > 0 {
		return
	}
	f.forgetLocked(shared)
	if former := shared.former; former != nil && former.underWay() && f.latest[former.key] == nil {
		f.latest[former.key] = former
	}
}

// underWay reports whether a call has not ended.
func (f *flight[K, V]) underWay() bool {
	select {
	case <-f.done:
		return false
	default:
		return true
	}
}

// orphanLocked lets a call go on without a caller, unless it has ended.
func (f *Flights[K, V]) orphanLocked(shared *flight[K, V]) {
	if !shared.underWay() {
		return
	}
	f.orphans = append(f.orphans, shared)
	if f.Orphans == 0 || len(f.orphans) <= f.Orphans {
		return
	}
	oldest := f.orphans[0]
	f.orphans = slices.Delete(f.orphans, 0, 1)
	f.forgetLocked(oldest)
	oldest.begun.cancel()
}

// adoptLocked notes that a call has a caller, or has ended.
func (f *Flights[K, V]) adoptLocked(shared *flight[K, V]) {
	if i := slices.Index(f.orphans, shared); i >= 0 {
		f.orphans = slices.Delete(f.orphans, i, i+1)
	}
}

// await waits until the namespace's own earlier call for the key has ended. So many fresh requests at
// once cost at most two calls: the one under way, and one after it that the rest share.
func await[K comparable, V any](ctx context.Context, former *flight[K, V], namespace string) error {
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
	ctx context.Context, shared *flight[K, V], own *attempt, namespace string,
	call func(context.Context, func() error) (V, error),
) {
	var value V
	err := f.Panics.Catch(f.Doing, func() (err error) {
		value, err = call(ctx, func() error { return f.begin(shared, own, namespace) })
		return err
	})
	if err == nil {
		err = f.begin(shared, own, namespace) // it may have known without asking
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case shared.begun == own:
		shared.value, shared.err, shared.former = value, err, nil
		f.forgetLocked(shared)
		f.adoptLocked(shared)
		close(shared.done)
	case shared.begun == nil && shared.waiting[namespace] == own:
		own.err = err
		f.endLocked(namespace, shared)
		close(own.failed)
	}
}

// begin makes an attempt the call, unless another one is, or nobody waits for it any more.
func (f *Flights[K, V]) begin(shared *flight[K, V], own *attempt, namespace string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case shared.begun == own:
		return nil
	case shared.begun != nil:
		return ErrTaken
	case shared.waiting[namespace] != own:
		return context.Canceled
	}
	shared.begun, shared.by = own, namespace
	for other, attempt := range shared.waiting {
		if other != namespace {
			attempt.cancel()
		}
	}
	return nil
}

func (f *Flights[K, V]) forgetLocked(shared *flight[K, V]) {
	if f.latest[shared.key] == shared {
		delete(f.latest, shared.key)
	}
}

func (f *Flights[K, V]) initLocked() {
	if f.latest == nil {
		f.latest = map[K]*flight[K, V]{}
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
