// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	call := func(ctx context.Context, start func() error) (string, error) {
		select {
		case <-r.open[c.Namespace]:
		case <-ctx.Done():
			return "", fmt.Errorf("no turn for %s", c.Namespace)
		}
		if err := start(); err != nil {
			return "", err
		}
		n := r.started.Add(1)
		<-r.end
		return fmt.Sprintf("%s %d", c.Namespace, n), start()
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
		full := func(context.Context, func() error) (string, error) {
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
