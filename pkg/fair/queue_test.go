// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// visitors enter a queue and stay until the test makes them leave.
type visitors struct {
	*Queue

	mu      sync.Mutex
	entered []string
	refused []error
	leaves  map[string][]func()
}

// enter starts n callers of a namespace, each with the same weight. It returns when all of them
// have entered, wait or were refused.
func (v *visitors) enter(ctx context.Context, namespace string, n int, weight int64) {
	for range n {
		go func() {
			leave, err := v.Enter(ctx, namespace, weight)
			v.mu.Lock()
			defer v.mu.Unlock()
			if err != nil {
				v.refused = append(v.refused, err)
				return
			}
			v.entered = append(v.entered, namespace)
			if v.leaves == nil {
				v.leaves = map[string][]func(){}
			}
			v.leaves[namespace] = append(v.leaves[namespace], leave)
		}()
		synctest.Wait()
	}
}

// leave makes the first visitor of a namespace leave.
func (v *visitors) leave(t *testing.T, namespace string) {
	t.Helper()
	v.mu.Lock()
	leave := v.leaves[namespace][0]
	v.leaves[namespace] = v.leaves[namespace][1:]
	v.mu.Unlock()
	leave()
	synctest.Wait()
}

// leaveAll makes all visitors leave, including those that enter meanwhile, and checks that the
// queue then has nothing left.
func (v *visitors) leaveAll(t *testing.T) {
	t.Helper()
	for more := true; more; {
		more = false
		for namespace, leaves := range v.leaves {
			for range leaves {
				v.leave(t, namespace)
				more = true
			}
		}
	}
	if len(v.members) != 0 || len(v.turns) != 0 || v.inUse != 0 {
		t.Errorf("in the end: %d namespaces, %d turns and %d units, want none",
			len(v.members), len(v.turns), v.inUse)
	}
}

func (v *visitors) want(t *testing.T, entered ...string) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if diff := cmp.Diff(entered, v.entered); diff != "" {
		t.Errorf("entered: -want +got\n%s", diff)
	}
}

// TestTurns checks that a namespace gets no more than its share, and that namespaces that wait take
// turns.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{Capacity: 4, Share: 2}}
		v.enter(t.Context(), "flood", 10, 1)
		v.want(t, "flood", "flood")
		v.enter(t.Context(), "a", 3, 1)
		v.enter(t.Context(), "b", 1, 1)
		v.want(t, "flood", "flood", "a", "a")
		v.leave(t, "flood")
		v.want(t, "flood", "flood", "a", "a", "flood")
		v.leave(t, "a")
		v.want(t, "flood", "flood", "a", "a", "flood", "a")
		v.leave(t, "a")
		v.want(t, "flood", "flood", "a", "a", "flood", "a", "b")
		v.leaveAll(t)
		if got := len(v.entered); got != 14 {
			t.Errorf("%d callers have entered in the end, want all 14", got)
		}
	})
}

// TestBacklog checks that at most Backlog callers of a namespace wait, and that those of another
// namespace are not affected.
func TestBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{Share: 2, Backlog: 3}}
		v.enter(t.Context(), "n", 10, 1)
		v.want(t, "n", "n")
		if len(v.refused) != 5 || !errors.Is(v.refused[0], ErrFull) {
			t.Errorf("errors: %v, want 5 times ErrFull", v.refused)
		}
		if s := v.Stats(); s != (Stats{InUse: 2, Waiting: 3, Refused: 5}) {
			t.Errorf("Stats() = %+v, want 2 in use, 3 waiting and 5 refused", s)
		}
		v.enter(t.Context(), "other", 2, 1)
		v.want(t, "n", "n", "other", "other")
		v.leaveAll(t)
	})
}

// TestWeights checks that a caller with a large weight keeps its turn until there is room, so that
// small callers can't overtake it for ever, and that a namespace that has used up its share does
// not delay others.
func TestWeights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{Capacity: 10, Share: 6}}
		v.enter(t.Context(), "a", 1, 6)
		v.enter(t.Context(), "a", 1, 1) // waits for its share
		v.enter(t.Context(), "b", 1, 6) // waits for free units
		v.enter(t.Context(), "c", 1, 1) // waits behind b
		v.want(t, "a")
		v.enter(t.Context(), "d", 1, 7)
		if len(v.refused) != 1 || !errors.Is(v.refused[0], ErrTooLarge) {
			t.Errorf("more than a share: errors %v, want ErrTooLarge", v.refused)
		}
		v.leave(t, "a")
		slices.Sort(v.entered) // they enter at the same time
		v.want(t, "a", "a", "b", "c")
		v.leaveAll(t)
	})
}

// TestEmptyNamespace checks that the empty namespace may use all of Capacity.
func TestEmptyNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{Capacity: 4, Share: 2}}
		v.enter(t.Context(), "", 5, 1)
		v.want(t, "", "", "", "")
		v.leaveAll(t)
	})
}

// TestGivingUp checks that a caller that gives up lets the callers behind it enter.
func TestGivingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{Capacity: 4}}
		v.enter(t.Context(), "a", 1, 3)
		ctx, cancel := context.WithCancel(t.Context())
		v.enter(ctx, "b", 1, 2)
		v.enter(t.Context(), "c", 1, 1)
		v.want(t, "a")
		cancel()
		synctest.Wait()
		v.want(t, "a", "c")
		if len(v.refused) != 1 || !errors.Is(v.refused[0], context.Canceled) {
			t.Errorf("errors of b: %v, want context.Canceled", v.refused)
		}
		v.leaveAll(t)
	})
}

// TestRate checks that PerSecond callers enter at once, and then one after the other, by turns.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &visitors{Queue: &Queue{PerSecond: 2}}
		v.enter(t.Context(), "a", 4, 1)
		v.enter(t.Context(), "b", 1, 1)
		v.want(t, "a", "a")
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		v.want(t, "a", "a", "a")
		time.Sleep(time.Second)
		synctest.Wait()
		v.want(t, "a", "a", "a", "b", "a")
		v.leaveAll(t)
	})
}

// TestManyGiveUp checks that no units are lost when callers give up while they are admitted.
func TestManyGiveUp(t *testing.T) {
	q := &Queue{Capacity: 2, Share: 1, Backlog: 50}
	var wg sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		wg.Go(func() {
			defer cancel()
			leave, err := q.Enter(ctx, string(rune('a'+i%3)), 1)
			if err == nil {
				leave()
			} else if !errors.Is(err, context.Canceled) && !errors.Is(err, ErrFull) {
				t.Error(err)
			}
		})
		if i%2 == 0 {
			go cancel()
		}
	}
	wg.Wait()
	if len(q.members) != 0 {
		t.Errorf("in the end: Stats() = %+v, want nothing in use", q.Stats())
	}
}
