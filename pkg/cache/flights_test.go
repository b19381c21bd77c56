// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/panics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// errEnd is the error of a call that has ended.
var errEnd = errors.New("ended")

// answer is what came of one Do.
type answer struct {
	value string
	err   error
}

// do starts a caller and returns where its answer will be.
func do(f func() (string, error)) <-chan answer {
	answers := make(chan answer, 1)
	go func() {
		v, err := f()
		answers <- answer{v, err}
	}()
	synctest.Wait()
	return answers
}

// got returns the answer of a caller that must have one by now.
func got(t *testing.T, answers <-chan answer) answer {
	t.Helper()
	synctest.Wait()
	select {
	case a := <-answers:
		return a
	default:
		t.Helper()
		t.Fatal("a caller has no answer yet")
		return answer{}
	}
}

// A call is shared, and goes on when the caller that started it has given up.
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
			t.Errorf("the caller that gave up got %v", a)
		}
		close(end)
		if a := got(t, second); a.value != "value" || !errors.Is(a.err, errEnd) || calls != 1 {
			t.Errorf("the other one got %v after %d calls, want the value of one", a, calls)
		}
		third := do(func() (string, error) { return f.Do(t.Context(), "k", call) })
		if got(t, third); calls != 2 {
			t.Errorf("%d calls, want another one when the first has ended", calls)
		}
	})
}

func TestPanicIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reported := 0
		f := &Flights[string, string]{Doing: "testing", Panics: &panics.Reporter{Report: func(*panics.Error) { reported++ }}}
		defer f.Close()
		_, err := f.Do(t.Context(), "k", func(context.Context) (string, error) { panic("odd") })
		var caught *panics.Error
		if !errors.As(err, &caught) || reported != 1 {
			t.Errorf("Do = %v, reported %d times, want a *panics.Error, once", err, reported)
		}
		if v, err := f.Do(t.Context(), "k", func(context.Context) (string, error) { return "fine", nil }); v != "fine" {
			t.Errorf("afterwards Do = %q, %v", v, err)
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
			t.Errorf("Do = %v, want the end of its time", err)
		}
		waiting := do(func() (string, error) { return f.Do(t.Context(), "k", hang) })
		f.Close()
		if a := got(t, waiting); !errors.Is(a.err, context.Canceled) {
			t.Errorf("after Close it got %v", a)
		}
		if _, err := f.Do(t.Context(), "k", hang); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close = %v", err)
		}
	})
}

// turns lets the calls of a test begin by namespace.
type turns struct {
	flights *Flights[string, string]
	open    map[string]chan struct{} // closed when a namespace's turn has come
	end     chan struct{}            // closed when calls may end
	begun   atomic.Int32
}

func newTurns(namespaces ...string) *turns {
	r := &turns{flights: &Flights[string, string]{}, open: map[string]chan struct{}{}, end: make(chan struct{})}
	for _, ns := range namespaces {
		r.open[ns] = make(chan struct{})
	}
	return r
}

// ask asks for the one key; what it gets says whose turn it was, and how many calls had begun.
func (r *turns) ask(ctx context.Context, c Caller) <-chan answer {
	return do(func() (string, error) {
		return r.flights.DoInTurn(ctx, "k", c, func(ctx context.Context, begin func() error) (string, error) {
			select {
			case <-r.open[c.Namespace]:
			case <-ctx.Done():
				return "", fmt.Errorf("no turn for %s", c.Namespace)
			}
			if err := begin(); err != nil {
				return "", err
			}
			n := r.begun.Add(1)
			<-r.end
			return fmt.Sprintf("%s %d", c.Namespace, n), begin()
		})
	})
}

// A namespace that joins another one's call does not wait for that one's turn, and both get the result
// of whoever begins first.
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
				t.Errorf("%s got %v, want what b asked for", name, got)
			}
		}
	})
}

// The failure of one namespace to get a turn is told to that namespace alone.
func TestFailureBeforeTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("b")
		defer r.flights.Close()
		full := func(context.Context, func() error) (string, error) { return "", errors.New("a has too many") }
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		_, err := r.flights.DoInTurn(t.Context(), "k", Caller{Namespace: "a"}, full)
		if err == nil || err.Error() != "a has too many" {
			t.Errorf("a got %v, want its own failure", err)
		}
		close(r.open["b"])
		close(r.end)
		if got := got(t, b); got.value != "b 1" {
			t.Errorf("b got %v, want its value", got)
		}
		if len(r.flights.latest) != 0 {
			t.Error("a flight was left behind")
		}
	})
}

// A fresh caller joins what has not begun, and nothing that has. All that come while one is under way
// share the next one, which a namespace begins when its former one has ended; others at once.
func TestFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		defer r.flights.Close()
		close(r.open["a"])
		first := r.ask(t.Context(), Caller{Namespace: "a", Fresh: true})
		later := []<-chan answer{
			r.ask(t.Context(), Caller{Namespace: "a", Fresh: true}),
			r.ask(t.Context(), Caller{Namespace: "a", Fresh: true}),
			r.ask(t.Context(), Caller{Namespace: "a"}), // may have either
		}
		if n := r.begun.Load(); n != 1 {
			t.Fatalf("%d calls have begun, want the second to wait for the first", n)
		}
		other := r.ask(t.Context(), Caller{Namespace: "b", Fresh: true})
		close(r.open["b"])
		synctest.Wait()
		if n := r.begun.Load(); n != 2 {
			t.Fatalf("%d calls have begun, want b's not to wait for a's", n)
		}
		close(r.end)
		if a := got(t, first); a.value != "a 1" {
			t.Errorf("the first got %v", a)
		}
		for i, answers := range append(later, other) {
			if a := got(t, answers); a.value != "b 2" {
				t.Errorf("caller %d got %v, want the result of the call that began after all of them came", i, a)
			}
		}
	})
}

// A caller that does not mind joins a call that has begun, whichever namespace began it.
func TestJoinedUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		defer r.flights.Close()
		close(r.open["a"])
		r.ask(t.Context(), Caller{Namespace: "a"})
		b := r.ask(t.Context(), Caller{Namespace: "b"})
		close(r.end)
		if a := got(t, b); a.value != "a 1" || r.begun.Load() != 1 {
			t.Errorf("b got %v after %d calls, want a's", a, r.begun.Load())
		}
	})
}

// A call that waits for its turn ends with its last caller; who comes later waits for a turn of his own.
func TestEndsWithItsCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTurns("a", "b")
		impatient, cancel := context.WithCancel(t.Context())
		gone := []<-chan answer{r.ask(impatient, Caller{Namespace: "a"}), r.ask(impatient, Caller{Namespace: "a"})}
		other := r.ask(t.Context(), Caller{Namespace: "b"})
		cancel()
		for _, answers := range gone {
			if a := got(t, answers); !errors.Is(a.err, context.Canceled) {
				t.Errorf("who gave up got %v", a)
			}
		}
		late := r.ask(t.Context(), Caller{Namespace: "a"})
		if len(late)+len(other) > 0 {
			t.Fatal("an answer came without a turn")
		}
		close(r.open["b"])
		close(r.end)
		for name, answers := range map[string]<-chan answer{"the other namespace": other, "who came later": late} {
			if a := got(t, answers); a.err != nil || a.value != "b 1" {
				t.Errorf("%s got %v, want the one call's result", name, a)
			}
		}
		if a := got(t, r.ask(impatient, Caller{Namespace: "a"})); !errors.Is(a.err, context.Canceled) {
			t.Errorf("a caller that had given up before got %v", a)
		}
		close(r.open["a"])
		if last := got(t, r.ask(t.Context(), Caller{Namespace: "a"})); last.err != nil || last.value != "a 2" {
			t.Errorf("the next one got %v, want a call of its own", last)
		}
	})
}

// A fresh caller that gives up while it waits for the call under way leaves that call to others: so many
// fresh callers one after the other make no more than two calls at once.
func TestFormerCallStays(t *testing.T) {
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
		if n := r.begun.Load(); n != 1 {
			t.Errorf("%d calls have begun, want the first one alone", n)
		}
		close(r.end)
		for _, answers := range []<-chan answer{first, joined} {
			if a := got(t, answers); a.err != nil || a.value != "a 1" {
				t.Errorf("got %v, want the first call's result", a)
			}
		}
	})
}

// Calls that have begun go on without callers, but only so many of them.
func TestOrphans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &Flights[int, string]{Orphans: 2}
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
			t.Errorf("calls %v are cancelled, want none: one of three has a caller", cancelled)
		}
		leave(4)
		synctest.Wait()
		if len(cancelled) != 1 || cancelled[0] != 2 {
			t.Errorf("calls %v are cancelled, want the oldest one without a caller", cancelled)
		}
		end()
		got(t, joined)
		synctest.Wait()
		if len(cancelled) != 2 || cancelled[1] != 3 || len(f.orphans) != 2 {
			t.Errorf("calls %v are cancelled, %d go on; want 3 next, and 2", cancelled, len(f.orphans))
		}
	})
}
