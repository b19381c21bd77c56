// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"errors"
	"strconv"
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
	fill("new", "n", modestUnits)
	if s := r.Stats(); s.InUse != 50 || s.Refused != 6 {
		t.Errorf("Stats() = %+v, want 50 in use and 6 refused", s)
	}
	if _, err := r.Enter("newer", "n", modestUnits+1); !errors.Is(err, ErrFull) {
		t.Errorf("more than a newcomer has: %v, want ErrFull", err)
	}
	if leave, err := r.Enter("newer", "n", modestUnits); err != nil {
		t.Errorf("what a newcomer has: %v", err)
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

// A namespace that fills its share of each group leaves room for others in each of them, however many
// groups there are.
func TestRoomForNewcomers(t *testing.T) {
	r := &Room{Capacity: 512}
	groups := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, group := range groups {
		for {
			if _, err := r.Enter(group, "loud", 1); err != nil {
				break
			}
		}
	}
	for _, group := range groups[:4] {
		for i := range 5 {
			if _, err := r.Enter(group, "modest", 1); err != nil {
				t.Errorf("%s: unit %d of a newcomer: %v, after %+v", group, i, err, r.Stats())
			}
		}
	}
}

// A group with a loud namespace that others came after still has room for its other namespaces. Those
// that make up namespaces have no more for it.
func TestRoomBesideLiars(t *testing.T) {
	r := &Room{Capacity: 2048}
	for {
		if _, err := r.Enter("api", "loud", 1); err != nil {
			break
		}
	}
	for _, liar := range []string{"pod1", "pod2", "pod3"} {
		for i := range 4096 {
			_, _ = r.Enter(liar, strconv.Itoa(i), 1) // it is refused at some time
		}
	}
	if s := r.Stats(); s.InUse > 2048-150 {
		t.Errorf("%+v, want room for others", s)
	}
	for namespace := range 10 {
		for unit := range modestUnits {
			if _, err := r.Enter("api", strconv.Itoa(namespace), 1); err != nil {
				t.Errorf("namespace %d, unit %d: %v, after %+v", namespace, unit, err, r.Stats())
			}
		}
	}
}
