// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"

	"github.com/tagpin/tagpin/pkg/fair"
)

// DefaultPerNamespace is the default of Limit.PerNamespace.
const DefaultPerNamespace = 64

// backlog is the number of look-ups of a namespace that may wait for each that is under way. Each one
// that waits costs memory, whether or not anybody still waits for its answer.
const backlog = 16

// Places returns the queue of a Limit: perNamespace look-ups of each namespace. 0: DefaultPerNamespace.
func Places(perNamespace int) *fair.Queue {
	share := orDefault(perNamespace, DefaultPerNamespace)
	return &fair.Queue{Share: int64(share), Backlog: backlog * share}
}

// Limit bounds the look-ups that one namespace has under way, so that a tenant that asks for a thousand
// images at once leaves room for the others. Further ones wait; when too many wait, the next one fails
// at once. It stands behind the cache, so that answers from memory are not bounded.
type Limit struct {
	Next Resolver
	// Places is the queue that Places made. Required.
	Places *fair.Queue
}

// Resolve asks Next when there is a place. Its own error is ErrUnavailable.
func (l *Limit) Resolve(ctx context.Context, req Request) (Result, error) {
	leave, err := l.Places.Enter(ctx, req.Namespace, 1)
	if err != nil {
		where := "under way, and this one got no turn in time"
		if errors.Is(err, fair.ErrFull) {
			where = "waiting for those under way"
		}
		return Result{}, &classified{ErrUnavailable, fmt.Errorf(
			"%s: too many look-ups of namespace %s are %s", req.Ref.Host(), req.Namespace, where)}
	}
	defer leave()
	return l.Next.Resolve(ctx, req)
}
