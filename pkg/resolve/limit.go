// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"sync"
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

	mu         sync.Mutex
	namespaces map[string]*places
}

// places are those of one namespace.
type places struct {
	slots chan struct{}
	users int // that hold a place or wait for one; guarded by Limit.mu
}

// Resolve asks Next when there is a place. Its own error is ErrUnavailable; it stands also for a look-up that got its
// place so late that its time ran out.
func (l *Limit) Resolve(ctx context.Context, req Request) (Result, error) {
	p, ok := l.join(req.Namespace)
	if !ok {
		return Result{}, busy(req)
	}
	defer l.leave(req.Namespace, p)
	waited := false
	select {
	case p.slots <- struct{}{}:
	default:
		waited = true
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			return Result{}, busy(req)
		}
	}
	defer func() { <-p.slots }()
	result, err := l.Next.Resolve(ctx, req)
	if err != nil && waited && ctx.Err() != nil {
		return Result{}, busy(req)
	}
	return result, err
}

func busy(req Request) error {
	return &classified{ErrUnavailable, fmt.Errorf("%s: %w of namespace %s under way; no place for this one", req.Ref.Host(), errBusy, req.Namespace)}
}

func (l *Limit) join(namespace string) (p *places, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.namespaces == nil {
		l.namespaces = map[string]*places{}
	}
	p = l.namespaces[namespace]
	if p == nil {
		p = &places{slots: make(chan struct{}, orDefault(l.PerNamespace, DefaultPerNamespace))}
		l.namespaces[namespace] = p
	}
	if p.users >= (1+waiting)*cap(p.slots) {
		return nil, false
	}
	p.users++
	return p, true
}

func (l *Limit) leave(namespace string, p *places) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.users--; p.users == 0 {
		delete(l.namespaces, namespace)
	}
}
