// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/registry"
)

// DefaultPerNamespace is the default of Places.
const DefaultPerNamespace = 64

// Places returns a queue for a Limit: perNamespace lookups of each namespace. 0:
// DefaultPerNamespace.
func Places(perNamespace int) *fair.Queue {
	return &fair.Queue{Share: int64(cmp.Or(perNamespace, DefaultPerNamespace))}
}

// lookupSize is what a lookup needs from its beginning to its answer, beside its credentials.
const lookupSize = 10 << 10

// Pending returns the room of a Limit, in units of lookupSize. Those of one sender need about 12
// MiB at most. The lookups of an object run 16 at a time (package pin). A namespace with no more
// usually finds room even if its sender has used up its part.
func Pending() *fair.Room { return &fair.Room{Capacity: 2048, Modest: 16} }

// Limit is a Resolver that bounds the lookups of one namespace that are under way, so that a tenant
// that asks for a thousand images at a time leaves room for others. Further lookups wait. If too
// many wait, the next one fails at once. Limit is behind the cache, so that it does not bound
// answers from memory.
type Limit struct {
	Next Resolver
	// Places is a queue that Places has made. Required.
	Places *fair.Queue
	// Pending is a room that Pending has made. It bounds the lookups that are under way or wait, by
	// sender and namespace. If nil, they have no bound.
	Pending *fair.Room
}

// Resolve asks Next when there is a place. An error of its own is failure.Unavailable and
// registry.ErrOfNamespace.
func (l *Limit) Resolve(ctx context.Context, req Request) (Result, error) {
	if l.Pending != nil {
		weight := 1 + sizeOf(req.Credentials)/lookupSize
		leave, err := l.Pending.Enter(req.Sender, req.Namespace, int64(weight))
		if err != nil {
			return Result{}, busy("%s: too many lookups are waiting, and namespace %s gets no more of "+
				"them now", req.Ref.Host(), req.Namespace)
		}
		defer leave()
	}
	leave, err := l.Places.Enter(ctx, req.Namespace, 1)
	if err != nil {
		return Result{}, busy("%s: too many lookups of namespace %s are under way, and this one got no "+
			"turn in time", req.Ref.Host(), req.Namespace)
	}
	defer leave()
	return l.Next.Resolve(ctx, req)
}

func busy(format string, args ...any) error {
	return noAnswer(fmt.Sprintf(format, args...), registry.ErrOfNamespace)
}
