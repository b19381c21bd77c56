// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"cmp"
	"sync"
)

// defaultModest is the default of Room.Modest.
const defaultModest = 8

// Room admits a caller at once or not at all. Callers have a namespace, which belongs to a group.
//
// A group may use half of the units that other groups leave. Of these, a namespace may use half of
// what the other namespaces of its group leave. So a group that is alone gets half of the capacity,
// a namespace that is alone gets a quarter, and there is room for newcomers. Switches share their
// buffer among ports in the same way (dynamic thresholds: Choudhury and Hahne, 1998).
//
// A group may have more than its part, perhaps because of a few loud namespaces. Each of its other
// namespaces may still have up to Modest units. All such namespaces of a group together may have a
// sixteenth of the capacity, or a quarter of what is free if that is more.
//
// The fields must not change after the first call. It is safe for concurrent use.
type Room struct {
	// Capacity is the maximum number of units in use. If 0, there is none.
	Capacity int64
	// Modest is the number of units that a namespace may have even if its group has too many.
	// Default: 8.
	Modest int64

	mu      sync.Mutex
	inUse   int64
	groups  map[string]roomGroup
	members map[tenant]int64 // units in use
	refused uint64
}

// roomGroup has the numbers of units in use in a group: by all of its namespaces, and by those with
// at most Modest units.
type roomGroup struct{ inUse, modest int64 }

// tenant is a namespace of a group.
type tenant struct{ group, namespace string }

// Enter takes weight units, or returns ErrFull. leave gives them back, and must be called exactly
// once.
func (r *Room) Enter(group, namespace string, weight int64) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == nil {
		r.groups, r.members = map[string]roomGroup{}, map[tenant]int64{}
	}
	m := tenant{group, namespace}
	if r.Capacity > 0 && !r.fitsLocked(m, weight) {
		r.refused++
		return nil, ErrFull
	}
	r.addLocked(m, weight)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.addLocked(m, -weight)
	}, nil
}

func (r *Room) fitsLocked(m tenant, weight int64) bool {
	g, own := r.groups[m.group], r.members[m]
	free := r.Capacity - r.inUse
	if modest := r.modest(own + weight); modest > 0 && weight <= free &&
		g.modest-r.modest(own)+modest <= max(r.Capacity/16, free/4) {
		return true
	}
	// Every unit must keep the rule. The last unit is checked as if the units before it were in use.
	ofOthers, last := r.inUse-g.inUse, weight-1
	return own+weight <= (r.Capacity-ofOthers)/2-g.inUse-last
}

// modest returns the number of a namespace's units, or 0 if they are more than Modest.
func (r *Room) modest(units int64) int64 {
	if units > cmp.Or(r.Modest, defaultModest) {
		return 0
	}
	return units
}

func (r *Room) addLocked(m tenant, weight int64) {
	g, own := r.groups[m.group], r.members[m]
	r.inUse += weight
	g.inUse += weight
	g.modest += r.modest(own+weight) - r.modest(own)
	if r.groups[m.group] = g; g.inUse == 0 {
		delete(r.groups, m.group)
	}
	if r.members[m] = own + weight; own+weight == 0 {
		delete(r.members, m)
	}
}

// Stats returns the state of the room. No caller waits in it.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Capacity: r.Capacity, InUse: r.inUse, Refused: r.refused}
}
