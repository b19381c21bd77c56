// SPDX-License-Identifier: Apache-2.0

// Package load makes many admission requests at a time, and counts the results. It shows what a
// restart, a crash or a new certificate costs users who deploy meanwhile:
//
//	l := load.Start(ctx, load.Options{N: 10000, AtOnce: 16}, load.Pods(client, "shop", images))
//	… restart it …
//	if r := l.Wait(); r.Pinned != 10000 {
//		t.Error(r)
//	}
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Attempt makes admission request number i, and reports whether the image was pinned. An error
// means that the request got no answer or was denied.
type Attempt func(ctx context.Context, i int) (pinned bool, err error)

// Options describe a load.
type Options struct {
	N       int           // number of requests; if 0, until the context ends
	AtOnce  int           // requests in flight (default 8)
	Rate    float64       // requests started per second, at most (default: no limit)
	Timeout time.Duration // of one request (default 30 s)
}

// fewErrors is how many errors a Result keeps.
const fewErrors = 5

// Result counts the requests that have ended.
type Result struct {
	Pinned, Unpinned, Failed int

	Errors []error       // the first few, each with its time since the start
	Gap    time.Duration // the longest time without a new answer with a pin
	Took   time.Duration
}

// String returns a line for a test's log.
func (r Result) String() string {
	text := fmt.Sprintf("%d pinned, %d unpinned, %d failed in %s; longest gap %s",
		r.Pinned, r.Unpinned, r.Failed, r.Took.Round(time.Millisecond), r.Gap.Round(time.Millisecond))
	if len(r.Errors) > 0 {
		text += fmt.Sprintf("; the first errors:\n%v", errors.Join(r.Errors...))
	}
	return text
}

// Done returns how many requests have ended.
func (r Result) Done() int { return r.Pinned + r.Unpinned + r.Failed }

// Load is a load in progress.
type Load struct {
	wg    sync.WaitGroup
	start time.Time

	mu     sync.Mutex // guards the fields below
	result Result
	begun  int
	last   time.Time // when the last answer with a pin came; at first, the start
	end    time.Time // zero while the load runs
}

// Start starts a load. When ctx ends, no more requests are started, and those in flight end
// normally, so that stopping a load causes no failures. The caller must call Wait.
func Start(ctx context.Context, o Options, attempt Attempt) *Load {
	if o.AtOnce == 0 {
		o.AtOnce = 8
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	l := &Load{start: time.Now()}
	l.last = l.start
	var tick <-chan time.Time
	stop := func() {}
	if o.Rate > 0 {
		ticker := time.NewTicker(time.Duration(float64(time.Second) / o.Rate))
		tick, stop = ticker.C, ticker.Stop
	}
	var callers sync.WaitGroup
	for range o.AtOnce {
		callers.Go(func() { l.call(ctx, o, tick, attempt) })
	}
	l.wg.Go(func() {
		callers.Wait()
		stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.end = time.Now()
	})
	return l
}

// Wait waits for the last request.
func (l *Load) Wait() Result {
	l.wg.Wait()
	return l.Result()
}

// Result returns what was counted until now.
func (l *Load) Result() Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.end
	if now.IsZero() {
		now = time.Now()
	}
	r := l.result
	r.Errors = append([]error(nil), r.Errors...)
	r.Took, r.Gap = now.Sub(l.start), max(r.Gap, now.Sub(l.last))
	return r
}

// call makes one request after the other.
func (l *Load) call(ctx context.Context, o Options, tick <-chan time.Time, attempt Attempt) {
	for {
		i, more := l.next(o.N)
		if !more || !wait(ctx, tick) {
			return
		}
		one, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.Timeout)
		pinned, err := attempt(one, i)
		cancel()
		l.count(pinned, err)
	}
}

func (l *Load) next(n int) (i int, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && l.begun == n {
		return 0, false
	}
	l.begun++
	return l.begun - 1, true
}

// wait waits for a tick if tick is not nil, and reports whether to go on.
func wait(ctx context.Context, tick <-chan time.Time) bool {
	if tick != nil {
		select {
		case <-tick:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

func (l *Load) count(pinned bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil:
		l.result.Failed++
		if len(l.result.Errors) < fewErrors {
			since := now.Sub(l.start).Round(time.Millisecond)
			l.result.Errors = append(l.result.Errors, fmt.Errorf("after %s: %w", since, err))
		}
	case !pinned:
		l.result.Unpinned++
	default:
		l.result.Pinned++
		l.result.Gap, l.last = max(l.result.Gap, now.Sub(l.last)), now
	}
}
