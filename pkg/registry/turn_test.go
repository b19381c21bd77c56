// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// queue is a line and those who went through it, in order.
type queue struct {
	*line
	mu      sync.Mutex
	entered []string
}

// ask has a namespace's look-up wait for its turn. It leaves when the test says so.
func (q *queue) ask(ctx context.Context, namespace string) {
	go func() {
		if q.enter(ctx, namespace) == nil {
			q.mu.Lock()
			q.entered = append(q.entered, namespace)
			q.mu.Unlock()
		}
	}()
	synctest.Wait()
}

// went is who has gone through, in order.
func (q *queue) went() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.entered)
}

func (q *queue) empty(t *testing.T) {
	t.Helper()
	q.line.mu.Lock()
	defer q.line.mu.Unlock()
	if len(q.asking) != 0 || len(q.waiting) != 0 || q.running != 0 {
		t.Errorf("left behind: %d namespaces, %d waiting, %d running", len(q.asking), len(q.waiting), q.running)
	}
}

// A flood of one namespace has half of the places; another one's look-up is the next after it, and they take turns.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{line: newLine(4, 1e6)}
		for range 10 {
			q.ask(t.Context(), "flood")
		}
		if diff := cmp.Diff([]string{"flood", "flood"}, q.went()); diff != "" {
			t.Errorf("of a flood -want +got\n%s", diff)
		}
		for range 3 {
			q.ask(t.Context(), "a")
		}
		q.ask(t.Context(), "b")
		want := []string{"flood", "flood", "a", "a"}
		for _, next := range []struct{ leaves, enters string }{{"flood", "flood"}, {"a", "a"}, {"a", "b"}, {"b", ""}, {"flood", "flood"}} {
			q.leave(next.leaves)
			synctest.Wait()
			if next.enters != "" {
				want = append(want, next.enters)
			}
			if diff := cmp.Diff(want, q.went()); diff != "" {
				t.Errorf("after one of %s left -want +got\n%s", next.leaves, diff)
			}
		}
		for q.running > 0 {
			if q.asking["a"] != nil && q.asking["a"].running > 0 {
				q.leave("a")
			} else {
				q.leave("flood")
			}
			synctest.Wait()
		}
		if len(q.went()) != 14 {
			t.Errorf("%d went through, want 14", len(q.went()))
		}
		q.empty(t)
	})
}

// Look-ups for nobody in particular, as of a command line, have all places; one place is a place for a namespace too.
func TestTurnsOfOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for namespace, want := range map[string]int{"": 3, "a": 2} {
			q := &queue{line: newLine(3, 1e6)}
			for range 5 {
				q.ask(t.Context(), namespace)
			}
			if len(q.went()) != want {
				t.Errorf("%d of namespace %q at once, want %d", len(q.went()), namespace, want)
			}
			for range 5 {
				q.leave(namespace)
				synctest.Wait()
			}
			q.empty(t)
		}
		q := &queue{line: newLine(1, 1e6)}
		q.ask(t.Context(), "a")
		if len(q.went()) != 1 {
			t.Error("no place")
		}
		q.leave("a")
	})
}

// The rate is shared by turns too: of each second's worth, each of two namespaces has half, whoever asks for more.
func TestTurnsOfRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{line: newLine(1000, 10)}
		for range 10 {
			q.ask(t.Context(), "first") // what may be had at once
		}
		for range 100 {
			q.ask(t.Context(), "flood")
		}
		for range 5 {
			q.ask(t.Context(), "modest")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := q.went()[10:]; len(got) != 10 || count(got, "modest") != 5 {
			t.Errorf("in a second %v, want ten, five of them modest", got)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := count(q.went(), "flood"); got != 100 {
			t.Errorf("%d of the flood, want all in the end", got)
		}
	})
}

func count(list []string, s string) (n int) {
	for _, e := range list {
		if e == s {
			n++
		}
	}
	return n
}

// Who gives up leaves nothing behind, and takes nobody's place.
func TestTurnsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue{line: newLine(2, 1e6)}
		q.ask(t.Context(), "a")
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			q.ask(ctx, "a")
		}
		q.ask(t.Context(), "a")
		cancel()
		synctest.Wait()
		q.leave("a")
		synctest.Wait()
		if len(q.went()) != 2 {
			t.Errorf("%d went through, want 2", len(q.went()))
		}
		q.leave("a")
		q.empty(t)
		if err := q.enter(ctx, "a"); err == nil { // free, though it is too late: either is right, but nothing may stay
			q.leave("a")
		}
		q.empty(t)
	})
}

// Many at once, of whom some give up: never more than there are places, and everybody else comes through.
func TestTurnsConcurrently(t *testing.T) {
	q := &queue{line: newLine(8, 1e6)}
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			namespace := fmt.Sprint(i % 7)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				cancel()
			}
			if q.enter(ctx, namespace) != nil {
				return
			}
			q.mu.Lock()
			q.entered = append(q.entered, namespace)
			q.mu.Unlock()
			q.line.mu.Lock()
			if q.running > 8 || slices.ContainsFunc([]*party{q.asking[namespace]}, func(p *party) bool { return p.running > 4 }) {
				t.Errorf("%d at once, %d of one", q.running, q.asking[namespace].running)
			}
			q.line.mu.Unlock()
			q.leave(namespace)
		})
	}
	wg.Wait()
	if len(q.went()) < 320 {
		t.Errorf("%d came through, want at least 320", len(q.went()))
	}
	q.empty(t)
}
