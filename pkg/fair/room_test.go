// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"errors"
	"strconv"
	"testing"
)

// TestRoom checks that a group gets at most half of what is left, and a namespace half of that.
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
				t.Errorf("%s/%s got %d units, then %v; want %d, then ErrFull", group, namespace, n, err, want)
			}
			return
		}
	}
	fill("api", "loud", 16)       // half of the 32 units that the group may have
	fill("api", "other", 8)       // half of the rest
	fill("liar", "a", 10)         // half of the 20 units that the group may have, of 40 that are left
	fill("liar", "invented-1", 6) // 5, and a modest one of a quarter of what is free
	fill("liar", "invented-2", 2)
	fill("new", "n", 6)
	if s := r.Stats(); s.InUse != 48 || s.Refused != 6 {
		t.Errorf("Stats() = %+v, want 48 in use and 6 refused", s)
	}
	if _, err := r.Enter("newer", "n", 5); !errors.Is(err, ErrFull) {
		t.Errorf("Enter with more than a quarter of what is left: %v, want ErrFull", err)
	}
	if leave, err := r.Enter("newer", "n", 4); err != nil {
		t.Errorf("Enter with a quarter of what is left: %v", err)
	} else {
		leaves = append(leaves, leave)
	}
	for _, leave := range leaves {
		leave()
	}
	if s := r.Stats(); s.InUse != 0 || len(r.groups)+len(r.members) != 0 {
		t.Errorf("in the end: Stats() = %+v, %d groups and %d namespaces, want none",
			s, len(r.groups), len(r.members))
	}
}

// TestRoomForNewcomers checks that there is room for other namespaces in each group after one
// namespace has taken all that it can get, however many groups there are.
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
				t.Errorf("Enter of a newcomer in %s, unit %d: %v, Stats() = %+v", group, i, err, r.Stats())
			}
		}
	}
}

// TestRoomBesideLoud checks that a group that several loud namespaces have filled has room for its
// other namespaces, alone and beside another group.
func TestRoomBesideLoud(t *testing.T) {
	for _, others := range []int{0, 3} {
		for _, tt := range []struct {
			room       *Room
			loud       int
			weight     int64
			namespaces int
		}{
			{&Room{Capacity: 768}, 5, 1, 48},
			{&Room{Capacity: 512}, 4, 1, 32},
			{&Room{Capacity: 2048, Modest: 16}, 5, 16, 8},
			{&Room{Capacity: 50_000, Modest: 512}, 5, 500, 6},
		} {
			flood := func(group string, namespaces int, weight int64) {
				for i := range namespaces {
					for range tt.room.Capacity {
						if _, err := tt.room.Enter(group, "loud-"+strconv.Itoa(i), weight); err != nil {
							break
						}
					}
				}
			}
			flood("api", tt.loud, tt.weight)
			flood("api2", others, tt.weight)
			for i := range tt.namespaces {
				_, err := tt.room.Enter("api", "modest-"+strconv.Itoa(i), tt.weight)
				if err != nil {
					t.Errorf("capacity %d, %d loud namespaces beside %d: Enter of namespace %d: %v, Stats() = %+v",
						tt.room.Capacity, tt.loud, others, i, err, tt.room.Stats())
				}
			}
		}
	}
}

// TestRoomBesideLiars checks a group that has grown large because of one namespace, before other
// groups came that invent namespaces: there is still room for its other namespaces.
func TestRoomBesideLiars(t *testing.T) {
	for name, tt := range map[string]struct {
		room       *Room
		weight     int64
		namespaces int
	}{
		"one unit each":  {&Room{Capacity: 2048}, 1, 100},
		"few units each": {&Room{Capacity: 2048}, 8, 15},
		"heavy units":    {&Room{Capacity: 50_000, Modest: 512}, 500, 5},
	} {
		t.Run(name, func(t *testing.T) {
			flood := func(group string, namespaces int) {
				for i := range namespaces {
					for range tt.room.Capacity / tt.weight {
						if _, err := tt.room.Enter(group, strconv.Itoa(i), tt.weight); err != nil {
							break
						}
					}
				}
			}
			flood("api", 1)
			flood("pod1", 100)
			flood("pod2", 1)
			flood("pod2", 100)
			for i := range tt.namespaces {
				if _, err := tt.room.Enter("api", "modest-"+strconv.Itoa(i), tt.weight); err != nil {
					t.Errorf("Enter of namespace %d: %v, Stats() = %+v", i, err, tt.room.Stats())
				}
			}
		})
	}
}
