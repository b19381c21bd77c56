// SPDX-License-Identifier: Apache-2.0

// Package fair shares a bounded resource among namespaces, so that one that asks for a thousand
// things at once leaves room for the others.
//
//	lookups := &fair.Queue{Capacity: 32, Share: 8, Backlog: 128}
//	leave, err := lookups.Enter(ctx, namespace, 1)
//	if err != nil {
//		return err
//	}
//	defer leave()
//
// All types count units, such as requests or bytes. They use memory only for namespaces that use
// units or wait for them.
//
//   - Queue is for work that can wait. A caller waits until units are free, and namespaces take
//     turns. The namespaces must be real, because a caller that invents some would get a turn for
//     each of them.
//   - Groups is for work that can wait, if namespaces may be invented. It is a Queue of groups,
//     such as the addresses that callers connect from, and each group is a Queue of its namespaces.
//   - Room is for what exists already and can't wait, such as an open connection. A caller enters
//     at once or is refused, and there is always room left for other groups and namespaces.
//   - Items is for reading what may be large: only a large item waits in a Queue.
package fair

import "errors"

// ErrFull is returned if there are no free units and the caller must not wait for them.
var ErrFull = errors.New("there is no room")

// ErrTooLarge is returned if a caller asks for more units than it could ever get.
var ErrTooLarge = errors.New("larger than the whole share of a namespace")

// Stats is the state of a Queue, a Groups or a Room.
type Stats struct {
	Capacity int64  // units; 0 if there is no maximum
	InUse    int64  // units
	Waiting  int    // callers
	Refused  uint64 // calls that returned ErrFull or ErrTooLarge so far
	TimedOut uint64 // callers whose context ended while they waited so far
}

func (s *Stats) add(more Stats) {
	s.InUse += more.InUse
	s.Waiting += more.Waiting
	s.Refused += more.Refused
	s.TimedOut += more.TimedOut
}
