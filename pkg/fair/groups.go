// SPDX-License-Identifier: Apache-2.0

package fair

import (
	"context"
	"sync"
)

// Groups shares a bounded resource among groups of namespaces: groups take turns, and within a group
// its namespaces do. A caller whose namespace is not to be trusted can so take the turns of its own
// group alone, however many names it makes up. The exported fields must not change after the first
// call. It is safe for concurrent use.
type Groups struct {
	// Capacity is the number of units that may be in use at once. 0: no bound.
	Capacity int64
	// Share is the number of units that one group may use at once. 0: Capacity.
	Share int64
	// Backlog is the number of callers of one namespace of a group that may wait at once. 0: no bound.
	Backlog int

	mu     sync.Mutex
	turns  *Queue            // among groups
	groups map[string]*group // that use units or wait for them
	past   Stats             // of groups that are gone
}

type group struct {
	Queue // among namespaces

	callers int
}

// Enter waits until weight units are free for the namespace of the group and takes them. The rest is
// as Queue.Enter says.
func (g *Groups) Enter(ctx context.Context, name, namespace string, weight int64) (leave func(), err error) {
	in := g.join(name)
	leaveGroup, err := in.Enter(ctx, namespace, weight)
	if err != nil {
		g.part(name, in)
		return nil, err
	}
	leaveAll, err := g.turns.Enter(ctx, name, weight)
	if err != nil {
		leaveGroup()
		g.part(name, in)
		return nil, err
	}
	return func() {
		leaveAll()
		leaveGroup()
		g.part(name, in)
	}, nil
}

// Stats returns the state of all groups together.
func (g *Groups) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns == nil {
		return Stats{Capacity: g.Capacity}
	}
	s, turns := g.past, g.turns.Stats()
	for _, in := range g.groups {
		s.add(in.Stats())
	}
	s.add(turns)
	s.InUse, s.Capacity = turns.InUse, g.Capacity
	return s
}

func (g *Groups) join(name string) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.turns == nil {
		g.turns = &Queue{Capacity: g.Capacity, Share: g.Share}
		g.groups = map[string]*group{}
	}
	in := g.groups[name]
	if in == nil {
		share := g.Share
		if share <= 0 {
			share = g.Capacity
		}
		in = &group{Queue: Queue{Capacity: share, Backlog: g.Backlog}}
		g.groups[name] = in
	}
	in.callers++
	return in
}

func (g *Groups) part(name string, in *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if in.callers--; in.callers == 0 {
		g.past.add(in.Stats())
		delete(g.groups, name)
	}
}
