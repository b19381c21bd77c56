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
	fill("api", "loud", 16) // half of the group's half
	fill("api", "other", 8) // half of what is left of it
	fill("liar", "a", 16)
	fill("liar", "made-up-1", 4) // the group has half of the 40 that the other one has left
	fill("liar", "made-up-2", 0)
	fill("new", "n", 10) // half of the 20 that are left
	if s := r.Stats(); s.InUse != 54 || s.Refused != 6 {
		t.Errorf("Stats() = %+v, want 54 in use and 6 refused", s)
	}
	if _, err := r.Enter("newer", "n", 6); !errors.Is(err, ErrFull) {
		t.Errorf("more than half of what is left: %v, want ErrFull", err)
	}
	if leave, err := r.Enter("newer", "n", 5); err != nil {
		t.Errorf("half of what is left: %v", err)
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
