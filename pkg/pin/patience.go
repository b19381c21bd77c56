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
	// mostWait is how long the lookups of a namespace's objects may take beyond that in all. Of each
	// second, a tenth comes back.
	mostWait = 10 * time.Second
	comeBack = 10
)

// Patience bounds how long controllers wait for the lookups of a namespace.
//
// A controller creates an object in one of a few workers that it has for all namespaces, and that
// waits for the answer of the review. kube-controller-manager has 5 for ReplicaSets and 2 for
// DaemonSets (--concurrent-replicaset-syncs, --concurrent-daemonset-syncs). So a namespace whose
// registries hang could keep the pods of all others waiting. Lookups beyond the bound fail for now.
// Those that have begun go on, and the controller finds their answers when it tries again.
//
// It counts the time of lookups alone, and not that of lists of siblings: an API server that is
// busy is no fault of the namespace.
//
// The zero value is ready. It is safe for concurrent use.
type Patience struct {
	once sync.Once
	left cache.Memory[waiter, allowance]
}

// waiter is whose time is counted. The namespace alone may be made up by the sender.
type waiter struct{ sender, namespace string }

// allowance is how much time was left at a time.
type allowance struct {
	left time.Duration
	at   time.Time
}

// now returns the allowance of the present.
func (a allowance) now() allowance {
	now := time.Now()
	return allowance{min(mostWait, a.left+now.Sub(a.at)/comeBack), now}
}

// bound returns a context that ends early, by resolve.ErrImpatient, if the lookups of a request
// take too long. done must be called when they have ended.
//
// The context ends without a deadline, because nothing may divide a short one among mirrors.
func (p *Patience) bound(ctx context.Context, req *Request) (_ context.Context, done func()) {
	if p == nil || req.Operation != policy.Create || req.Object.Metadata.Controller.IsZero() {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	began := time.Now()
	timer := time.AfterFunc(usualWait+p.of(req), func() {
		cancel(fmt.Errorf("no answer yet, and %w for images of namespace %s; they try again",
			resolve.ErrImpatient, req.Namespace))
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
		if over := time.Since(began) - usualWait; over > 0 {
			p.charge(req, over)
		}
	}
}

// of returns what is left for the namespace of a request.
func (p *Patience) of(req *Request) time.Duration {
	if known, ok := p.left.Get(waiter{req.Sender, req.Namespace}); ok {
		return known.now().left
	}
	return mostWait
}

// charge takes a time from what is left for the namespace of a request.
func (p *Patience) charge(req *Request, over time.Duration) {
	p.once.Do(func() { p.left.Owner = func(w waiter, _ allowance) string { return w.sender } })
	key := waiter{strings.Clone(req.Sender), strings.Clone(req.Namespace)}
	p.left.Update(key, 0, func(known allowance, ok bool) (allowance, bool) {
		if !ok {
			known = allowance{mostWait, time.Now()}
		}
		known = known.now()
		known.left = max(0, known.left-over)
		return known, true
	})
}

// impatient reports whether bound has ended a context.
func impatient(ctx context.Context) bool {
	return errors.Is(context.Cause(ctx), resolve.ErrImpatient)
}
