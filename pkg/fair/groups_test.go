// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestGroups checks that a group that invents namespaces only waits for its own turns, that other
// groups enter meanwhile, and that the namespaces of a group take turns.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Groups{Capacity: 4, Share: 2}
		var entered []string
		leaves := map[string]func(){}
		enter := func(group, namespace string) {
			go func() {
				leave, err := g.Enter(t.Context(), group, namespace, 1)
				if err != nil {
					t.Error(err)
				}
				entered = append(entered, group+"/"+namespace)
				leaves[group+"/"+namespace] = leave
			}()
			synctest.Wait()
		}
		for _, namespace := range []string{"a", "b", "c", "d"} {
			enter("liar", namespace)
		}
		if s := g.Stats(); s != (Stats{Capacity: 4, InUse: 2, Waiting: 2}) {
			t.Errorf("Stats() = %+v, want 2 in use and 2 waiting", s)
		}
		enter("honest", "x")
		enter("honest", "y")
		enter("other", "z")
		want := []string{"liar/a", "liar/b", "honest/x", "honest/y"}
		for _, next := range []string{"other/z", "liar/c", "liar/d"} {
			leaves[want[0]]()
			synctest.Wait()
			if want = append(want[1:], next); entered[len(entered)-1] != next {
				t.Fatalf("entered %v, want %s last", entered, next)
			}
		}
		for _, name := range want {
			leaves[name]()
		}
		if s := g.Stats(); s != (Stats{Capacity: 4}) || len(g.groups) != 0 {
			t.Errorf("in the end: Stats() = %+v and %d groups, want nothing in use", s, len(g.groups))
		}
	})
}

// TestGroupsRefuse checks that the counts of refused callers stay when their group is idle, and
// that nothing else of it stays.
func TestGroupsRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &Groups{Capacity: 4, Share: 3, Backlog: 1}
		if _, err := g.Enter(t.Context(), "a", "n", 4); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Enter with more than the share of a group: %v, want ErrTooLarge", err)
		}
		leave, err := g.Enter(t.Context(), "a", "n", 3)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for name, group := range map[string]string{"own group": "a", "another group": "b"} {
			if _, err := g.Enter(ctx, group, "m", 2); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Enter without free units, %s: %v, want context.DeadlineExceeded", name, err)
			}
		}
		leave()
		want := Stats{Capacity: 4, Refused: 1, TimedOut: 2}
		if s := g.Stats(); s != want || len(g.groups) != 0 || len(g.turns.members) != 0 {
			t.Errorf("in the end: Stats() = %+v and %d groups, want %+v and none", s, len(g.groups), want)
		}
	})
}
