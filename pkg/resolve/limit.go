// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tagpin/tagpin/pkg/place"
)

// DefaultPerNamespace is Limit's default.
const DefaultPerNamespace = 64

// waiting is how many look-ups of a namespace may wait for each that is under way: each that waits costs memory, whether or
// not somebody still waits for its answer.
const waiting = 16

// errBusy says that a namespace had no place in time: that is nothing about the image, and not to be remembered.
var errBusy = errors.New("too many look-ups")

// Limit bounds the look-ups that one namespace has under way, so that a tenant who asks for a thousand images at once
// leaves room for the others; more wait, within their context. It stands behind the cache: what is remembered is not
// bounded. It holds memory for namespaces with look-ups under way alone. When too many wait, a further one fails at once.
// The zero value with Next set is ready.
type Limit struct {
	Next         Resolver
	PerNamespace int // 0: DefaultPerNamespace

	once   sync.Once
	places place.Places
}

// Resolve asks Next when there is a place. Its own error is ErrUnavailable; it stands also for a look-up that got its
// place so late that its time ran out.
func (l *Limit) Resolve(ctx context.Context, req Request) (Result, error) {
	l.once.Do(func() { l.places.Each, l.places.Waiting = orDefault(l.PerNamespace, DefaultPerNamespace), waiting })
	leave, waited, err := l.places.Enter(ctx, req.Namespace)
	if err != nil {
		return Result{}, busy(req)
	}
	defer leave()
	result, err := l.Next.Resolve(ctx, req)
	if err != nil && waited && ctx.Err() != nil {
		return Result{}, busy(req)
	}
	return result, err
}

func busy(req Request) error {
	return &classified{ErrUnavailable, fmt.Errorf("%s: %w of namespace %s under way; no place for this one", req.Ref.Host(), errBusy, req.Namespace)}
}
