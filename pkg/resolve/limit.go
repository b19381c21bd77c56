// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
)

// DefaultPerNamespace is the default of Limit.PerNamespace.
const DefaultPerNamespace = 64

// Places returns the queue of a Limit: perNamespace look-ups of each namespace. 0: DefaultPerNamespace.
func Places(perNamespace int) *fair.Queue {
	return &fair.Queue{Share: int64(orDefault(perNamespace, DefaultPerNamespace))}
}

// Pending returns the room of a Limit. A lookup needs about 10 KiB from its beginning to its answer, so
// that one sender has 10 MiB at most. An object's lookups run 16 at a time (package pin), so that a
// namespace may always have that many.
func Pending() *fair.Room { return &fair.Room{Capacity: 2048, Modest: 16} }

// Limit bounds the lookups that one namespace has under way, so that a tenant that asks for a thousand
// images at once leaves room for the others. Further ones wait; when too many wait, the next one fails
// at once. It stands behind the cache, so that answers from memory are not bounded.
type Limit struct {
	Next Resolver
	// Places is the queue that Places made. Required.
	Places *fair.Queue
	// Pending is the room that Pending made, for lookups that are under way or wait, by sender and
	// namespace. Nil: no bound.
	Pending *fair.Room
}

// Resolve asks Next when there is a place. Its own error is failure.Unavailable.
func (l *Limit) Resolve(ctx context.Context, req Request) (Result, error) {
	if l.Pending != nil {
		leave, err := l.Pending.Enter(req.Sender, req.Namespace, 1)
		if err != nil {
			return Result{}, failure.Errorf(failure.Unavailable,
				"%s: too many look-ups are waiting, and namespace %s gets no more of them now",
				req.Ref.Host(), req.Namespace)
		}
		defer leave()
	}
	leave, err := l.Places.Enter(ctx, req.Namespace, 1)
	if err != nil {
		return Result{}, failure.Errorf(failure.Unavailable,
			"%s: too many look-ups of namespace %s are under way, and this one got no turn in time",
			req.Ref.Host(), req.Namespace)
	}
	defer leave()
	return l.Next.Resolve(ctx, req)
}
