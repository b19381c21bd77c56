// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"cmp"
	"context"
	"sync"
)

// Groups is a Queue of groups, each of which is a Queue of namespaces. Groups take turns, and so do
// the namespaces of a group. A caller that invents namespaces only takes turns from its own group.
// The fields must not change after the first call. It is safe for concurrent use.
type Groups struct {
	// Capacity is the maximum number of units in use. If 0, there is none.
	Capacity int64
	// Share is the maximum number of units that one group uses. Default: Capacity.
	Share int64
	// Backlog is the maximum number of waiting callers of one namespace of a group. If 0, there is
	// none.
	Backlog int

	mu     sync.Mutex
	turns  Queue             // of groups
	groups map[string]*group // the groups that use units or wait for them
	past   Stats             // of groups that are no longer in the map
}

type group struct {
	Queue // of namespaces

	callers int
}

// Enter waits until weight units are free for the namespace of the group and takes them. leave and
// err are like those of Queue.Enter.
func (g *Groups) Enter(
	ctx context.Context, name, namespace string, weight int64,
) (leave func(), err error) {
	own := g.join(name)
	defer func() {
		if err != nil {
			g.part(name, own)
		}
	}()
	leaveGroup, err := own.Enter(ctx, namespace, weight)
	if err != nil {
		return nil, err
	}
	leaveAll, err := g.turns.Enter(ctx, name, weight)
	if err != nil {
		leaveGroup()
		return nil, err
	}
	return func() {
		leaveAll()
		leaveGroup()
		g.part(name, own)
	}, nil
}

// Stats returns the state of all groups together.
func (g *Groups) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.past
	turns := g.turns.Stats()
	s.add(turns)
	for _, own := range g.groups {
		s.add(own.Stats())
	}
	s.InUse, s.Capacity = turns.InUse, g.Capacity
	return s
}

func (g *Groups) join(name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups == nil {
		g.turns.Capacity, g.turns.Share = g.Capacity, g.Share
		g.groups = map[string]*group{}
	}
	own := g.groups[name]
	if own == nil {
		share := cmp.Or(max(g.Share, 0), g.Capacity)
		own = &group{Queue: Queue{Capacity: share, Backlog: g.Backlog}}
		g.groups[name] = own
	}
	own.callers++
	return own
}

func (g *Groups) part(name string, own *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if own.callers--; own.callers == 0 {
		g.past.add(own.Stats())
		delete(g.groups, name)
	}
}
