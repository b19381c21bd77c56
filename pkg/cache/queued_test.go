// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// turns decides when the calls of a test start and end.
type turns struct {
	flights *Flights[string, string]
	open    map[string]chan struct{} // by namespace; closed when its turn has come
	end     chan struct{}            // closed when calls may end
	started atomic.Int32
}

func newTurns(namespaces ...string) *turns {
	r := &turns{
		flights: &Flights[string, string]{},
		open:    map[string]chan struct{}{}, end: make(chan struct{}),
	}
	for _, ns := range namespaces {
		r.open[ns] = make(chan struct{})
	}
	return r
}

// ask starts a caller of DoQueued, always for the same key. The result of a call is its namespace
// and its number, in the order in which the calls start.
func (r *turns) ask(ctx context.Context, c Caller) <-chan answer {
	call := func(ctx context.Context, turn Turn) (string, error) {
		select {
		case <-r.open[c.Namespace]:
		case <-ctx.Done():
			return "", fmt.Errorf("no turn for %s", c.Namespace)
		}
		if err := turn.Start(); err != nil {
			return "", err
		}
		n := r.started.Add(1)
		<-r.end
		return fmt.Sprintf("%s %d", c.Namespace, n), turn.Start()
	}
	return do(func() (string, error) { return r.flights.DoQueued(ctx, "k", c, call) })
}

// TestTurnOfTheOther checks that a namespace does not wait for the turn of another one, and that
// both get the result of the call that starts first.
func TestTurnOfTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		defer r.flights.Close()
		a := r.ask(t.Context(), Caller{Namespace: "a", Fresh: true})
		b := r.ask(t.Context(), Caller{Namespace: "b", Fresh: true})
		close(r.open["b"])
		synctest.Wait()
		close(r.open["a"])
		close(r.end)
		for name, answers := range map[string]<-chan answer{"a": a, "b": b} {
			if got := got(t, answers); got.value != "b 1" || got.err != nil {
				t.Errorf("DoQueued of %s = %v, want the result of b's call", name, got)
			}
		}
	})
}

// TestFailureBeforeTheTurn checks that only the callers of a namespace get the error of its call if
// that has not started.
func TestFailureBeforeTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("b")
		defer r.flights.Close()
		full := func(context.Context, Turn) (string, error) {
			return "", errors.New("a has too many")
		}
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		_, err := r.flights.DoQueued(t.Context(), "k", Caller{Namespace: "a"}, full)
		if err == nil || err.Error() != "a has too many" {
			t.Errorf("DoQueued of a = %v, want its own error", err)
		}
		close(r.open["b"])
		close(r.end)
		if got := got(t, b); got.value != "b 1" {
			t.Errorf("DoQueued of b = %v, want its own result", got)
		}
		if len(r.flights.latest) != 0 {
			t.Error("a flight is left after all calls have ended")
		}
	})
}

// TestFresh checks that Fresh callers join a waiting call but not a running one. All callers that
// come while a call is running share the next one. A namespace whose own call is running starts the
// next one after its end, and other namespaces start it at once.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		defer r.flights.Close()
		close(r.open["a"])
		first := r.ask(t.Context(), Caller{Namespace: "a", Fresh: true})
		later := []<-chan answer{
			r.ask(t.Context(), Caller{Namespace: "a", Fresh: true}),
			r.ask(t.Context(), Caller{Namespace: "a", Fresh: true}),
			r.ask(t.Context(), Caller{Namespace: "a"}), // any result would do
		}
		if n := r.started.Load(); n != 1 {
			t.Fatalf("%d calls have started, want the second one to wait for the first one", n)
		}
		other := r.ask(t.Context(), Caller{Namespace: "b", Fresh: true})
		close(r.open["b"])
		synctest.Wait()
		if n := r.started.Load(); n != 2 {
			t.Fatalf("%d calls have started, want b's call not to wait for a's", n)
		}
		close(r.end)
		if a := got(t, first); a.value != "a 1" {
			t.Errorf("DoQueued of the first caller = %v, want its own result", a)
		}
		for i, answers := range append(later, other) {
			if a := got(t, answers); a.value != "b 2" {
				t.Errorf("DoQueued of later caller %d = %v, want the result of b's call", i, a)
			}
		}
	})
}

// TestJoinRunning checks that a caller that is not Fresh joins a running call of any namespace.
func TestJoinRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		defer r.flights.Close()
		close(r.open["a"])
		r.ask(t.Context(), Caller{Namespace: "a"})
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		close(r.end)
		if a := got(t, b); a.value != "a 1" || r.started.Load() != 1 {
			t.Errorf("DoQueued of b = %v after %d calls, want a's result", a, r.started.Load())
		}
	})
}

// TestEndsWithItsCallers checks that a waiting call ends with its last caller, and that a later
// caller waits for another turn.
func TestEndsWithItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		impatient, cancel := context.WithCancel(t.Context())
		gone := []<-chan answer{
			r.ask(impatient, Caller{Namespace: "a"}), r.ask(impatient, Caller{Namespace: "a"}),
		}
		other := r.ask(t.Context(), Caller{Namespace: "b"})
		cancel()
		for _, answers := range gone {
			if a := got(t, answers); !errors.Is(a.err, context.Canceled) {
				t.Errorf("DoQueued of a caller that gave up = %v, want context.Canceled", a)
			}
		}
		late := r.ask(t.Context(), Caller{Namespace: "a"})
		if len(late)+len(other) > 0 {
			t.Fatal("a caller has a result before any turn has come")
		}
		close(r.open["b"])
		close(r.end)
		later := map[string]<-chan answer{"the other namespace": other, "a later caller": late}
		for name, answers := range later {
			if a := got(t, answers); a.err != nil || a.value != "b 1" {
				t.Errorf("DoQueued of %s = %v, want the result of b's call", name, a)
			}
		}
		if a := got(t, r.ask(impatient, Caller{Namespace: "a"})); !errors.Is(a.err, context.Canceled) {
			t.Errorf("DoQueued with an ended context = %v, want context.Canceled", a)
		}
		close(r.open["a"])
		last := got(t, r.ask(t.Context(), Caller{Namespace: "a"}))
		if last.err != nil || last.value != "a 2" {
			t.Errorf("DoQueued of the next caller = %v, want the result of a new call", last)
		}
	})
}

// TestRunningCallStays checks that callers can still join a running call after a Fresh caller has
// come and given up, so that many such callers make no more than two calls at once.
func TestRunningCallStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a")
		close(r.open["a"])
		first := r.ask(t.Context(), Caller{Namespace: "a"})
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			gone := r.ask(ctx, Caller{Namespace: "a", Fresh: true})
			cancel()
			got(t, gone)
		}
		joined := r.ask(t.Context(), Caller{Namespace: "a"})
		if n := r.started.Load(); n != 1 {
			t.Errorf("%d calls have started, want only the first one", n)
		}
		close(r.end)
		for _, answers := range []<-chan answer{first, joined} {
			if a := got(t, answers); a.err != nil || a.value != "a 1" {
				t.Errorf("DoQueued = %v, want the result of the first call", a)
			}
		}
	})
}

// TestCancelledCallIsNotJoined checks that no caller joins a call that was cancelled because too
// many had no caller, also not after a Fresh caller has come and given up.
func TestCancelledCallIsNotJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a")
		r.flights.MaxAbandoned = 1
		close(r.open["a"])
		visit := func(c Caller) (leave func()) {
			ctx, cancel := context.WithCancel(t.Context())
			gone := r.ask(ctx, c)
			return func() { cancel(); got(t, gone) }
		}
		visit(Caller{Namespace: "a"})() // abandoned
		leave := visit(Caller{Namespace: "a", Fresh: true})
		ctx, cancel := context.WithCancel(t.Context())
		other := do(func() (string, error) {
			return r.flights.Do(ctx, "other", func(ctx context.Context) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			})
		})
		cancel()
		got(t, other) // abandoned too, so that the first one is cancelled
		leave()
		last := r.ask(t.Context(), Caller{Namespace: "a"})
		close(r.end)
		if a := got(t, last); a.err != nil || a.value != "a 2" {
			t.Errorf("DoQueued = %v, want the result of a new call", a)
		}
		r.flights.Close()
	})
}

// waiting is a call of the namespace a that has started and waits again.
type waiting struct {
	*turns
	over   chan struct{} // closed when its turn has come
	result chan answer
	first  <-chan answer // of the caller that has started it
}

func newWaiting() *waiting {
	r := &waiting{newTurns("a", "b", "c"), make(chan struct{}), make(chan answer), nil}
	r.first = do(func() (string, error) {
		return r.flights.DoQueued(context.Background(), "k", Caller{Namespace: "a", Fresh: true},
			func(ctx context.Context, turn Turn) (string, error) {
				turn.Wait()(true) // for its first turn
				if err := turn.Start(); err != nil {
					return "", err
				}
				over := turn.Wait()
				select {
				case <-r.over:
				case a := <-r.result:
					over(a.err == nil)
					return a.value, a.err
				case <-ctx.Done():
					over(false)
					return "", ctx.Err()
				}
				over(true)
				select {
				case a := <-r.result:
					return a.value, a.err
				case <-ctx.Done():
					return "", ctx.Err()
				}
			})
	})
	return r
}

// TestWaitsAgain checks that callers of other namespaces wait for turns of their own while a call
// that has started waits again, and that the first result is for all callers.
func TestWaitsAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(r *waiting)
		b, a string // the results
		errA error
	}{
		"short wait": {func(r *waiting) {
			close(r.over)
			close(r.open["b"])
			time.Sleep(time.Second)
			r.result <- answer{value: "a"}
		}, "a", "a", nil},
		"turn of another namespace": {func(r *waiting) {
			time.Sleep(2 * patience)
			close(r.open["b"])
			close(r.end)
		}, "b 1", "b 1", nil},
		"result before the turn": {func(r *waiting) {
			time.Sleep(2 * patience)
			r.result <- answer{value: "a"}
		}, "a", "a", nil},
		"end of the wait before the turn": {func(r *waiting) {
			time.Sleep(2 * patience)
			close(r.over)
			synctest.Wait()
			close(r.open["b"])
			synctest.Wait()
			r.result <- answer{value: "a", err: errEnd}
			synctest.Wait()
			close(r.end) // b's call has started too
		}, "a", "a", errEnd},
		"failure soon": {func(r *waiting) {
			r.result <- answer{err: errEnd}
			synctest.Wait()
			close(r.open["b"])
			close(r.end)
		}, "b 1", "", errEnd},
		"failure": {func(r *waiting) {
			time.Sleep(2 * patience)
			r.result <- answer{err: errEnd}
			synctest.Wait()
			close(r.open["b"])
			close(r.end)
		}, "b 1", "", errEnd},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newWaiting()
				defer r.flights.Close()
				second := r.ask(t.Context(), Caller{Namespace: "a"})
				others := []<-chan answer{
					r.ask(t.Context(), Caller{Namespace: "b"}), r.ask(t.Context(), Caller{Namespace: "b"}),
				}
				tt.do(r)
				for _, answers := range others {
					if a := got(t, answers); a.value != tt.b || a.err != nil && tt.errA == nil {
						t.Errorf("DoQueued of b = %v, want %s", a, tt.b)
					}
				}
				for _, answers := range []<-chan answer{r.first, second} {
					if a := got(t, answers); a.value != tt.a || !errors.Is(a.err, tt.errA) {
						t.Errorf("DoQueued of a = %v, want %s, %v", a, tt.a, tt.errA)
					}
				}
				if len(r.flights.latest) != 0 {
					t.Error("a flight is left after all calls have ended")
				}
			})
		})
	}
}

// TestFailureWhileAnotherWaits checks that a caller whose own call fails before its turn gets the
// result of the call that has started, if there is one, and its own error only after that has
// failed.
func TestFailureWhileAnotherWaits(t *testing.T) {
	for name, tt := range map[string]struct{ result, want answer }{
		"result":  {answer{value: "a"}, answer{value: "a"}},
		"failure": {answer{err: errEnd}, answer{err: errors.New("b has too many")}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newWaiting()
				defer r.flights.Close()
				calls := 0
				b := do(func() (string, error) {
					return r.flights.DoQueued(t.Context(), "k", Caller{Namespace: "b"},
						func(context.Context, Turn) (string, error) {
							calls++
							return "", errors.New("b has too many")
						})
				})
				time.Sleep(time.Minute)
				r.result <- tt.result
				if a := got(t, b); a.value != tt.want.value || fmt.Sprint(a.err) != fmt.Sprint(tt.want.err) {
					t.Errorf("DoQueued of b = %v, want %v", a, tt.want)
				}
				if calls != 1 {
					t.Errorf("b's call was made %d times, want once", calls)
				}
				got(t, r.first)
			})
		})
	}
}

// TestTurnsAreKept checks that a namespace that starts a call and waits again does not take the
// turns of the others.
func TestTurnsAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWaiting()
		defer r.flights.Close()
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		time.Sleep(2 * patience)
		calls := 0
		other := do(func() (string, error) {
			return r.flights.DoQueued(t.Context(), "k", Caller{Namespace: "c"},
				func(ctx context.Context, turn Turn) (string, error) {
					calls++
					if err := turn.Start(); err != nil {
						return "", err
					}
					defer turn.Wait()(false)
					<-ctx.Done()
					return "", ctx.Err()
				})
		})
		time.Sleep(2 * patience)
		close(r.open["b"])
		close(r.end)
		for name, answers := range map[string]<-chan answer{"a": r.first, "b": b, "c": other} {
			if a := got(t, answers); a.value != "b 1" || a.err != nil {
				t.Errorf("DoQueued of %s = %v, want the result of b's call", name, a)
			}
		}
		if calls != 1 {
			t.Errorf("c's call was made %d times, want once", calls)
		}
	})
}

// TestOnWait checks that the callers of a call are told when it waits, and when that is over.
func TestOnWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns()
		defer r.flights.Close()
		wait, over := make(chan struct{}), make(chan struct{})
		var waits, ends [3]atomic.Int32 // the calls for each caller
		var callers []<-chan answer
		for i := range 3 {
			if i == 2 {
				close(wait)
				synctest.Wait()
			}
			callers = append(callers, do(func() (string, error) {
				return r.flights.DoQueued(t.Context(), "k", Caller{OnWait: func() func(bool) {
					waits[i].Add(1)
					return func(bool) { ends[i].Add(1) }
				}}, func(_ context.Context, turn Turn) (string, error) {
					<-wait
					end := turn.Wait()
					<-over
					end(true)
					<-r.end
					return "", turn.Start()
				})
			}))
		}
		close(over)
		synctest.Wait()
		for i := range callers {
			if w, e := waits[i].Load(), ends[i].Load(); w != 1 || e != 1 {
				t.Errorf("caller %d: OnWait was called %d times, and its end %d times, want once", i, w, e)
			}
		}
		close(r.end)
		for _, answers := range callers {
			got(t, answers)
		}
	})
}

// TestOwnError checks that an error for which IsOwn is true is only for the callers of its
// namespace, and that the others make a call of their own.
func TestOwnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newWaiting()
		r.flights.IsOwn = func(err error) bool { return errors.Is(err, errEnd) }
		defer r.flights.Close()
		close(r.over)
		second := r.ask(t.Context(), Caller{Namespace: "a"})
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		r.result <- answer{err: errEnd}
		for _, answers := range []<-chan answer{r.first, second} {
			if a := got(t, answers); !errors.Is(a.err, errEnd) {
				t.Errorf("DoQueued of a = %v, want the error of its call", a)
			}
		}
		close(r.open["b"])
		close(r.end)
		if a := got(t, b); a.value != "b 1" || a.err != nil {
			t.Errorf("DoQueued of b = %v, want the result of b's call", a)
		}
	})
}

// TestResultAfterTheWait checks that the result of a call whose turn has come is for all callers at
// once, although a call of another namespace has started meanwhile.
func TestResultAfterTheWait(t *testing.T) {
	for name, want := range map[string]answer{"value": {value: "a"}, "error": {err: errEnd}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newWaiting()
				defer r.flights.Close()
				b := r.ask(t.Context(), Caller{Namespace: "b"})
				time.Sleep(2 * patience)
				close(r.open["b"])
				synctest.Wait()
				close(r.over)
				synctest.Wait()
				r.result <- want
				for namespace, answers := range map[string]<-chan answer{"a": r.first, "b": b} {
					if a := got(t, answers); a.value != want.value || !errors.Is(a.err, want.err) {
						t.Errorf("DoQueued of %s = %v, want %v of a's call", namespace, a, want)
					}
				}
				close(r.end)
			})
		})
	}
}
