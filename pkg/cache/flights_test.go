// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errEnd is an error that a call returns.
var errEnd = errors.New("ended")

// answer has the results of Do.
type answer struct {
	value string
	err   error
}

// do starts a caller, waits until it is blocked, and returns the channel of its answer.
func do(f func() (string, error)) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		v, err := f()
		answers <- answer{v, err}
	}()
	synctest.Wait()
	return answers
}

// got returns the answer of a caller, which must have one by now.
func got(t *testing.T, answers <-chan answer) answer {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-answers:
		return a
	default:
		t.Fatal("a caller has no answer yet")
		return answer{}
	}
}

// TestCallOutlivesItsCaller checks that a call is shared, and goes on when its first caller gives
// up.
func TestCallOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Flights[string, string]{}
		defer f.Close()
		calls, end := 0, make(chan struct{})
		call := func(context.Context) (string, error) {
			calls++
			<-end
			return "value", errEnd
		}
		impatient, cancel := context.WithCancel(t.Context())
		first := do(func() (string, error) { return f.Do(impatient, "k", call) })
		second := do(func() (string, error) { return f.Do(t.Context(), "k", call) })
		cancel()
		if a := got(t, first); !errors.Is(a.err, context.Canceled) {
			t.Errorf("Do of the caller that gave up = %v, want context.Canceled", a)
		}
		close(end)
		if a := got(t, second); a.value != "value" || !errors.Is(a.err, errEnd) || calls != 1 {
			t.Errorf("Do of the other caller = %v after %d calls, want the result of one", a, calls)
		}
		third := do(func() (string, error) { return f.Do(t.Context(), "k", call) })
		if got(t, third); calls != 2 {
			t.Errorf("%d calls, want a second one after the first has ended", calls)
		}
	})
}

func TestPanicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reported := 0
		reporter := &panics.Reporter{Report: func(*panics.Error) { reported++ }}
		f := &Flights[string, string]{Doing: "testing", Panics: reporter}
		defer f.Close()
		_, err := f.Do(t.Context(), "k", func(context.Context) (string, error) { panic("odd") })
		var caught *panics.Error
		if !errors.As(err, &caught) || reported != 1 {
			t.Errorf("Do = %v, reported %d times, want a *panics.Error, once", err, reported)
		}
		fine := func(context.Context) (string, error) { return "fine", nil }
		if v, err := f.Do(t.Context(), "k", fine); v != "fine" {
			t.Errorf("after the panic: Do = %q, %v, want fine", v, err)
		}
	})
}

func TestTimeoutAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Flights[string, string]{Timeout: time.Second}
		hang := func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}
		if _, err := f.Do(t.Context(), "k", hang); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Do = %v, want context.DeadlineExceeded", err)
		}
		waiting := do(func() (string, error) { return f.Do(t.Context(), "k", hang) })
		f.Close()
		if a := got(t, waiting); !errors.Is(a.err, context.Canceled) {
			t.Errorf("Do during Close = %v, want context.Canceled", a)
		}
		if _, err := f.Do(t.Context(), "k", hang); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close = %v, want ErrClosed", err)
		}
	})
}

// TestAbandonedCalls checks that running calls go on without callers, up to the maximum.
func TestAbandonedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Flights[int, string]{MaxAbandoned: 2}
		defer f.Close()
		var mu sync.Mutex
		var cancelled []int
		call := func(key int) func(context.Context) (string, error) {
			return func(ctx context.Context) (string, error) {
				<-ctx.Done()
				mu.Lock()
				defer mu.Unlock()
				cancelled = append(cancelled, key)
				return "", ctx.Err()
			}
		}
		leave := func(key int) {
			ctx, cancel := context.WithCancel(t.Context())
			gone := do(func() (string, error) { return f.Do(ctx, key, call(key)) })
			cancel()
			got(t, gone)
		}
		leave(1)
		leave(2)
		waits, end := context.WithCancel(t.Context())
		joined := do(func() (string, error) { return f.Do(waits, 1, call(1)) })
		leave(3)
		if len(cancelled) > 0 {
			t.Errorf("cancelled calls: %v, want none, because one of three has a caller", cancelled)
		}
		leave(4)
		synctest.Wait()
		if len(cancelled) != 1 || cancelled[0] != 2 {
			t.Errorf("cancelled calls: %v, want the first one that has no caller, 2", cancelled)
		}
		end()
		got(t, joined)
		synctest.Wait()
		if len(cancelled) != 2 || cancelled[1] != 3 || len(f.abandoned) != 2 {
			t.Errorf("cancelled calls: %v, and %d go on; want 2 and 3, and two", cancelled, len(f.abandoned))
		}
	})
}
