// SPDX-License-Identifier: Apache-2.0

package fair

import "sync"

// Room admits callers of namespaces, which belong to groups, at once or not at all. A group may use
// half of what other groups leave, and a namespace half of what the other namespaces of its group
// leave of that. So a group that is alone has half of the capacity, and a namespace that is alone a
// quarter. There is room for newcomers, but in a group that has grown large before many other groups
// came. This is the dynamic threshold by which the ports of a switch share its buffer (Choudhury and
// Hahne, 1998).
//
// The exported fields must not change after the first call. It is safe for concurrent use.
type Room struct {
	// Capacity is the number of units that may be in use at once. 0: no bound.
	Capacity int64

	mu      sync.Mutex
	inUse   int64
	groups  map[string]int64
	members map[tenant]int64
	refused uint64
}

// tenant is a namespace of a group.
type tenant struct{ group, namespace string }

// Enter takes weight units; leave gives them back and must be called exactly once. Its error is
// ErrFull.
func (r *Room) Enter(group, namespace string, weight int64) (leave func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == nil {
		r.groups, r.members = map[string]int64{}, map[tenant]int64{}
	}
	m := tenant{group, namespace}
	ofGroup, own := r.groups[group], r.members[m]
	// The rule holds for each unit: those before the last one are in use when that is taken.
	ofOthers, last := r.inUse-ofGroup, weight-1
	free := (r.Capacity-ofOthers)/2 - ofGroup - last
	if r.Capacity > 0 && own+weight > free {
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

func (r *Room) addLocked(m tenant, weight int64) {
	r.inUse += weight
	if r.groups[m.group] += weight; r.groups[m.group] == 0 {
		delete(r.groups, m.group)
	}
	if r.members[m] += weight; r.members[m] == 0 {
		delete(r.members, m)
	}
}

// Stats returns the state of the room. Nobody waits in it.
func (r *Room) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Stats{Capacity: r.Capacity, InUse: r.inUse, Refused: r.refused}
}
