// SPDX-License-Identifier: Apache-2.0

// Package place bounds what is under way at once, of all namespaces and of each, so that a tenant who makes a thousand
// things necessary leaves room for the others.
//
//	leave, _, err := places.Enter(ctx, namespace)
//	if err != nil {
//		return err
//	}
//	defer leave()
//
// It knows nothing of what is under way, and holds memory for namespaces with something under way, or that waits, alone.
package place

import (
	"context"
	"errors"
	"sync"
)

// ErrFull says that so many of a namespace wait for a place that a further one may not.
var ErrFull = errors.New("too many wait")

// Places are what there is room for. Its fields are set before its first use. It is safe for concurrent use.
type Places struct {
	Each    int // at once of one namespace; at least one
	All     int // at once of all; 0: no bound
	Waiting int // how many of a namespace may wait, for each of its places; 0: no bound

	mu         sync.Mutex
	all        chan struct{}
	namespaces map[string]*own
}

// own are the places of one namespace.
type own struct {
	slots chan struct{}
	users int // that have a place or wait for one; guarded by Places.mu
}

// Enter waits for a place of the namespace, and then for one of all. After it, leave must be called. waited tells whether
// there was none at once. Its error is ErrFull or the context's.
func (p *Places) Enter(ctx context.Context, namespace string) (leave func(), waited bool, err error) {
	o, err := p.join(namespace)
	if err != nil {
		return nil, false, err
	}
	var taken []chan struct{}
	leave = func() {
		for _, slots := range taken {
			<-slots
		}
		p.quit(namespace, o)
	}
	for _, slots := range [...]chan struct{}{o.slots, p.all} {
		if slots == nil {
			continue
		}
		later, err := take(ctx, slots)
		if err != nil {
			leave()
			return nil, true, err
		}
		taken, waited = append(taken, slots), waited || later
	}
	return leave, waited, nil
}

func take(ctx context.Context, slots chan struct{}) (waited bool, err error) {
	select {
	case slots <- struct{}{}:
		return false, nil
	default:
	}
	select {
	case slots <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	}
}

func (p *Places) join(namespace string) (*own, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.namespaces == nil {
		p.namespaces = map[string]*own{}
		if p.All > 0 {
			p.all = make(chan struct{}, p.All)
		}
	}
	o := p.namespaces[namespace]
	if o == nil {
		o = &own{slots: make(chan struct{}, max(p.Each, 1))}
		p.namespaces[namespace] = o
	}
	if p.Waiting > 0 && o.users >= (1+p.Waiting)*cap(o.slots) {
		return nil, ErrFull
	}
	o.users++
	return o, nil
}

func (p *Places) quit(namespace string, o *own) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if o.users--; o.users == 0 {
		delete(p.namespaces, namespace)
	}
}
