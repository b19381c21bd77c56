// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/resolve"
)

const (
	// usualWait is how long the lookups of an object may take in any case. Most registries answer
	// sooner.
	usualWait = 200 * time.Millisecond
	// mostWait is how long the lookups of a namespace's objects may take beyond that in all. An object
	// gets half of what is left, which is 8 s at most: the time for a review by default. Of each
	// second, a tenth comes back.
	mostWait = 16 * time.Second
	comeBack = 10
)

// Patience bounds how long the controllers of Kubernetes wait for the lookups of a namespace.
//
// A controller creates an object in one of a few workers that it has for all namespaces, and that
// waits for the answer of the review. kube-controller-manager has 5 for ReplicaSets and 2 for
// DaemonSets (--concurrent-replicaset-syncs, --concurrent-daemonset-syncs). So a namespace whose
// registries hang could keep the pods of all others waiting. Lookups beyond the bound fail for now.
// Those that have begun go on, and the controller finds their answers when it tries again. Other
// controllers may not try again, so they are not bounded.
//
// It counts the time of lookups alone, and not that of lists of siblings (see sibling.Places).
//
// The zero value is ready. It is safe for concurrent use.
type Patience struct {
	once sync.Once
	left cache.Memory[waiter, allowance]
}

// ByKubernetes reports whether a user is a controller of Kubernetes: they are in one process, or
// have service accounts in kube-system.
func ByKubernetes(user string) bool {
	return user == "system:kube-controller-manager" ||
		strings.HasPrefix(user, "system:serviceaccount:kube-system:")
}

// waiter is whose time is counted. The namespace alone may be made up by the sender.
type waiter struct{ sender, namespace string }

// allowance is how much time was left at a time.
type allowance struct {
	left time.Duration
	at   time.Time
}

// bound returns a context that ends early, by resolve.ErrImpatient, if the lookups of a request
// take too long. done must be called when they have ended.
//
// The context gets no earlier deadline, which would be divided among mirrors.
func (p *Patience) bound(ctx context.Context, req *Request) (_ context.Context, done func()) {
	if p == nil || req.Operation != policy.Create || req.Object.Metadata.Controller.IsZero() ||
		!ByKubernetes(req.User) {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var (
		mu    sync.Mutex
		ended bool
		end   *time.Timer // if not nil, the usual wait is over
		until time.Time   // when end fires
	)
	usual := time.AfterFunc(usualWait, func() {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		mine := p.take(req)
		until = time.Now().Add(mine)
		end = time.AfterFunc(mine, func() {
			cancel(fmt.Errorf("no answer yet, and %w for images of namespace %s",
				resolve.ErrImpatient, req.Namespace))
		})
	})
	return ctx, func() {
		usual.Stop()
		mu.Lock()
		defer mu.Unlock()
		ended = true
		if end != nil {
			end.Stop()
			p.giveBack(req, time.Until(until))
		}
		cancel(nil)
	}
}

// take takes half of what is left for the namespace of a request.
func (p *Patience) take(req *Request) (mine time.Duration) {
	p.change(req, func(left time.Duration) time.Duration {
		mine = left / 2
		return left - mine
	})
	return mine
}

// giveBack gives back what a request has not used.
func (p *Patience) giveBack(req *Request, unused time.Duration) {
	p.change(req, func(left time.Duration) time.Duration { return left + max(0, unused) })
}

// change changes what is left for the namespace of a request.
func (p *Patience) change(req *Request, to func(left time.Duration) time.Duration) {
	p.once.Do(func() { p.left.Owner = func(w waiter, _ allowance) string { return w.sender } })
	key := waiter{strings.Clone(req.Sender), strings.Clone(req.Namespace)}
	p.left.Update(key, 0, func(known allowance, ok bool) (allowance, bool) {
		now := time.Now()
		left := mostWait
		if ok {
			left = min(mostWait, known.left+now.Sub(known.at)/comeBack)
		}
		return allowance{min(mostWait, to(left)), now}, true
	})
}

// impatient reports whether bound has ended a context.
func impatient(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), resolve.ErrImpatient)
}
