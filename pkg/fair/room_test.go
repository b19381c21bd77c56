// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"errors"
	"testing"
)

// Groups, and the namespaces of each, get at most half of what is left for them, so that there is
// room for another group.
func TestRoom(t *testing.T) {
	r := &Room{Capacity: 64}
	var leaves []func()
	fill := func(group, namespace string, want int) {
		t.Helper()
		for n := 0; ; n++ {
			leave, err := r.Enter(group, namespace, 1)
			if err == nil {
				leaves = append(leaves, leave)
				continue
			}
			if !errors.Is(err, ErrFull) || n != want {
				t.Errorf("%s/%s has %d units, then %v; want %d", group, namespace, n, err, want)
			}
			return
		}
	}
	fill("api", "loud", 16) // half of the 32 that the group may have
	fill("api", "other", 8) // half of the rest
	fill("liar", "a", 10)   // the group may have half of the 40 that are left
	fill("liar", "made-up-1", 5)
	fill("liar", "made-up-2", 3)
	fill("new", "n", 6)
	if s := r.Stats(); s.InUse != 48 || s.Refused != 6 {
		t.Errorf("Stats() = %+v, want 48 in use and 6 refused", s)
	}
	if _, err := r.Enter("newer", "n", 5); !errors.Is(err, ErrFull) {
		t.Errorf("more than a quarter of what is left: %v, want ErrFull", err)
	}
	if leave, err := r.Enter("newer", "n", 4); err != nil {
		t.Errorf("a quarter of what is left: %v", err)
	} else {
		leaves = append(leaves, leave)
	}
	for _, leave := range leaves {
		leave()
	}
	if s := r.Stats(); s.InUse != 0 || len(r.groups)+len(r.members) != 0 {
		t.Errorf("in the end %+v, %d groups and %d namespaces", s, len(r.groups), len(r.members))
	}
}

// A namespace that fills its share of each group leaves room for another namespace in each of them.
func TestRoomForNewcomers(t *testing.T) {
	r := &Room{Capacity: 512}
	for groups := 1; groups <= 4; groups++ {
		group := string(rune('a' + groups))
		for {
			if _, err := r.Enter(group, "loud", 1); err != nil {
				break
			}
		}
	}
	for groups := 1; groups <= 4; groups++ {
		group := string(rune('a' + groups))
		for i := range 5 {
			if _, err := r.Enter(group, "modest", 1); err != nil {
				t.Errorf("%s: unit %d of a newcomer: %v, after %+v", group, i, err, r.Stats())
			}
		}
	}
}
