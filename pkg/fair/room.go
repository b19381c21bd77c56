// SPDX-License-Identifier: Apache-2.0

package fair

import "sync"

// modestUnits is what a namespace may have in a group of few namespaces, whatever others have.
const modestUnits = 8

// Room admits callers of namespaces, which belong to groups, at once or not at all. A group may use
// half of what other groups leave, and a namespace half of what the other namespaces of its group
// leave of that. So a group that is alone has half of the capacity, and a namespace that is alone a
// quarter, and there is room for newcomers. This is the dynamic threshold by which the ports of a
// switch share its buffer (Choudhury and Hahne, 1998).
//
// A group that has grown large before others came is over its threshold, for one loud namespace
// perhaps. Its other namespaces have modestUnits each all the same, if it has few of them: one that
// makes up namespaces has many.
//
// The exported fields must not change after the first call. It is safe for concurrent use.
type Room struct {
	// Capacity is the number of units that may be in use at once. 0: no bound.
	Capacity int64

	mu      sync.Mutex
	inUse   int64
	groups  map[string]roomGroup
	members map[tenant]int64
	refused uint64
}

// roomGroup is what the namespaces of a group use, and how many they are.
type roomGroup struct{ inUse, namespaces int64 }

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
	few := r.Capacity / (8 * modestUnits)
	if own+weight <= modestUnits && g.namespaces <= few && r.inUse+weight <= r.Capacity {
		return true
	}
	// The rule holds for each unit: those before the last one are in use when that is taken.
	ofOthers, last := r.inUse-g.inUse, weight-1
	return own+weight <= (r.Capacity-ofOthers)/2-g.inUse-last
}

func (r *Room) addLocked(m tenant, weight int64) {
	r.inUse += weight
	g, own := r.groups[m.group], r.members[m]
	switch now := own + weight; {
	case own == 0:
		g.namespaces++
		r.members[m] = now
	case now == 0:
		g.namespaces--
		delete(r.members, m)
	default:
		r.members[m] = now
	}
	if g.inUse += weight; g.inUse == 0 {
		delete(r.groups, m.group)
	} else {
		r.groups[m.group] = g
	}
}

// Stats returns the state of the room. Nobody waits in it.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Capacity: r.Capacity, InUse: r.inUse, Refused: r.refused}
}
