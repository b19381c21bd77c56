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

// ErrStarted is returned by Turn.Start if the call must not start: a call of another namespace for
// the same key has started first or has a result, or there is no caller any more.
var ErrStarted = errors.New("another call for the same key has started")

// patience is how long a call that has started may wait for another turn of its namespace before
// callers of other namespaces look after themselves. A shorter wait, such as that for the next tick
// of the default rate, ends sooner than another call would.
const patience = 100 * time.Millisecond

// Flights shares a call among the callers that want the same key at the same time. The fields must
// not change after the first call. The zero value is ready. It is safe for concurrent use.
//
// Each call runs on its own goroutine with the values of the first caller's context, but not with
// its end: a call that has started goes on when its callers give up, so that later callers can have
// the result. A panic in a call is an error like others (*panics.Error).
type Flights[K comparable, V any] struct {
	// MaxAbandoned is the maximum number of started calls whose callers have all given up. If there
	// are more, the one that was left first is cancelled. If 0, there is no maximum.
	MaxAbandoned int
	// Timeout is the maximum time for a call, including the wait for its turn. If 0, there is none.
	Timeout time.Duration
	// Doing says what a call does, for the text of a panic: "reading a pull secret".
	Doing string
	// Panics reports panics. If nil, they are not reported.
	Panics *panics.Reporter
	// IsOwn reports whether an error of a call says something only to the callers of its own
	// namespace. Those of others make a call of their own then. If nil, no error does.
	IsOwn func(error) bool

	mu        sync.Mutex
	latest    map[K]*flight[K, V] // the flights that callers can join
	abandoned []*flight[K, V]     // the started flights without callers, in the order of leaving
	base      context.Context     // ended by Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup
}

// Turn is how a call of DoQueued says how far it is.
type Turn struct {
	// Start must be called when the turn of the call has come, and before it does anything that others
	// may share. If Start returns an error, the call must return it. Start may be called again.
	Start func() error
	// Wait must be called before a wait for a turn of the call's namespace, and over after it. came
	// says whether the turn has come. If a call that has started waits for long, callers of other
	// namespaces no longer rely on it until it calls Start again: they wait for turns of their own as
	// well, and take the result that is there first.
	Wait func() (over func(came bool))
}

// Caller says who calls DoQueued, and which calls it may share.
type Caller struct {
	// Namespace is the namespace whose turn the call waits for.
	Namespace string
	// Fresh is true if the call must start after this caller has asked. The caller then shares a call
	// that is waiting, but not one that has started.
	Fresh bool
	// OnWait is called when the call of the caller's namespace waits for its turn (Turn.Wait), and
	// over after that. It may be nil.
	OnWait func() (over func(came bool))
}

// Do returns the result of call for a key, or of a call for the key that is running already. Its
// error is that of the call, ErrClosed, or the error of ctx.
func (f *Flights[K, V]) Do(
	ctx context.Context, key K, call func(context.Context) (V, error),
) (V, error) {
	return f.DoQueued(ctx, key, Caller{},
		func(ctx context.Context, turn Turn) (value V, err error) {
			if err := turn.Start(); err != nil {
				return value, err
			}
			return call(ctx)
		})
}

// DoQueued is like Do for a call that waits in a queue first, and says so by its Turn. Each
// namespace waits for its own turn, and the call whose turn comes first is for all of them.
//
// If the turn of a call does not come, or it fails by an error for which IsOwn is true, only the
// callers of its namespace get the error. While a call of another namespace runs, they wait for its
// result first. call may be called again after Turn.Start has returned ErrStarted.
func (f *Flights[K, V]) DoQueued(
	ctx context.Context, key K, c Caller, call func(context.Context, Turn) (V, error),
) (value V, err error) {
	s := &seat[K, V]{Caller: c, key: key}
	defer f.leave(s)
	for {
		changed, err := f.ensureAttempt(ctx, s, call)
		if err != nil {
			return value, err
		}
		select {
		case <-s.flight.done:
			return s.flight.value, s.flight.err
		case <-changed:
		case <-ctx.Done():
			return value, ctx.Err()
		}
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

func (f *Flights[K, V]) initLocked() {
	if f.latest == nil {
		f.latest = map[K]*flight[K, V]{}
		f.base, f.cancel = context.WithCancel(context.Background())
	}
}
