// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tagpin/tagpin/pkg/cache"
)

const (
	// usualWait is how long each lookup may take in any case. Most registries answer sooner.
	usualWait = 200 * time.Millisecond
	// mostWait is how long the lookups of a namespace may take beyond that in all, and moreWait how
	// much of it comes back in a second.
	mostWait, moreWait = 10 * time.Second, 100 * time.Millisecond
)

// Patience bounds how long controllers wait for the lookups of a namespace.
//
// A controller creates a pod in one of a few workers that it has for all namespaces, and that waits
// for the answer of the review. kube-controller-manager has 5 for ReplicaSets and 2 for DaemonSets
// (--concurrent-replicaset-syncs, --concurrent-daemonset-syncs). So a namespace whose registry
// hangs could keep the pods of all others waiting. A lookup beyond the bound fails for now. It goes
// on, and the controller finds its answer when it tries again.
//
// Lookups that wait at the same time may all use what is left. There are few: as many as a
// controller has workers.
//
// The zero value is ready. It is safe for concurrent use.
type Patience struct {
	once sync.Once
	left cache.Memory[waiter, *rate.Limiter] // in milliseconds
}

// waiter is whose time is counted. The namespace alone may be made up by the sender.
type waiter struct{ sender, namespace string }

// bound bounds the time of a lookup for a request that is not Fresh. done must be called at its
// end.
func (p *Patience) bound(ctx context.Context, req Request) (_ context.Context, done func()) {
	if p == nil || req.Fresh {
		return ctx, func() {}
	}
	left := p.of(req.Sender, req.Namespace)
	more := time.Duration(max(left.Tokens(), 0)) * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(ctx, usualWait+more, fmt.Errorf(
		"no answer yet, and controllers have waited too long for images of namespace %s already; "+
			"the lookup goes on, and they try again", req.Namespace))
	began := time.Now()
	return ctx, func() {
		cancel()
		if over := time.Since(began) - usualWait; over > 0 {
			now := time.Now()
			left.AllowN(now, int(min(float64(over.Milliseconds()), max(left.TokensAt(now), 0))))
		}
	}
}

// of returns what is left for a namespace.
func (p *Patience) of(sender, namespace string) (left *rate.Limiter) {
	p.once.Do(func() {
		p.left.Owner = func(w waiter, _ *rate.Limiter) string { return w.sender }
	})
	key := waiter{strings.Clone(sender), strings.Clone(namespace)}
	p.left.Update(key, 0, func(known *rate.Limiter, ok bool) (*rate.Limiter, bool) {
		if left = known; !ok {
			left = rate.NewLimiter(rate.Limit(moreWait.Milliseconds()), int(mostWait.Milliseconds()))
		}
		return left, true
	})
	return left
}
