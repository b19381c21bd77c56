// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"cmp"
	"sync"
)

// defaultModest is the default of Room.Modest.
const defaultModest = 8

// Room admits callers of namespaces, which belong to groups, at once or not at all. A group may use
// half of what other groups leave, and a namespace half of what the other namespaces of its group
// leave of that. So a group that is alone has half of the capacity, and a namespace that is alone a
// quarter, and there is room for newcomers. This is the dynamic threshold by which the ports of a
// switch share its buffer (Choudhury and Hahne, 1998).
//
// A group that has grown large is over its threshold, perhaps because of a few loud namespaces. Each
// of its other namespaces may have up to Modest units all the same. Together, such namespaces may
// have a sixteenth of the capacity, or a quarter of what is free if that is more.
//
// The exported fields must not change after the first call. It is safe for concurrent use.
type Room struct {
	// Capacity is the number of units that may be in use at once. 0: no bound.
	Capacity int64
	// Modest is the number of units that a namespace may have though its group has too many.
	// Default: 8.
	Modest int64

	mu      sync.Mutex
	inUse   int64
	groups  map[string]roomGroup
	members map[tenant]int64
	refused uint64
}

// roomGroup is what the namespaces of a group use. Of that, modest is what those with at most Modest
// units use.
type roomGroup struct{ inUse, modest int64 }

// tenant is a namespace of a group.
type tenant struct{ group, namespace string }

// Enter takes weight units; leave gives them back and must be called exactly once. Its error is
// ErrFull.
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
	// The rule holds for each unit: those before the last one are in use when that is taken.
	ofOthers, last := r.inUse-g.inUse, weight-1
	return own+weight <= (r.Capacity-ofOthers)/2-g.inUse-last
}

// modest returns the units of a namespace, or 0 if they are too many to be modest.
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

// Stats returns the state of the room. Nobody waits in it.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Capacity: r.Capacity, InUse: r.inUse, Refused: r.refused}
}
