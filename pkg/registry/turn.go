// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
)

// beginRequest waits until the lookup may send a request: each gate is open or may be tried, the
// lookup has a slot, the rate allows it, and a GET has its turn among those of all registries.
// While another request tries a gate, the lookup gives its slot back. beginRequest returns the
// gates that this request tries.
func (l *lookup) beginRequest(ctx context.Context, method string) ([]*gate, error) {
	l.settle(ctx)
	for waited := false; ; {
		// Only a request that is about to be sent may try a gate. That of a visit is sent by the lookup
		// that visits, which tries its own.
		taken, trying, err := l.client.gates.pass(l.gates(), waited && !l.visitor)
		switch {
		case err != nil:
			l.countClosed()
			return nil, err
		case trying != nil:
			l.slot.leave()
			waited = false
			if err := l.awaitTry(ctx, trying); err != nil {
				return nil, err
			}
		case !waited:
			if err := l.awaitCapacity(ctx, method); err != nil {
				return nil, err
			}
			waited = true
		default:
			if l.Begin != nil {
				err = l.Begin()
			}
			if err != nil {
				l.client.gates.done(taken, false)
			}
			return taken, err
		}
	}
}

// passGatesAgain does for the gates what beginRequest does, if the lookup has let others try them
// while it waited for a token from another host. Otherwise all lookups that wait for such tokens
// would be sent at once when a limit ends. Meanwhile the lookup keeps its slot, as it did while it
// waited. If its time ends, that is only for its namespace: the registry was not asked with the
// token.
func (l *lookup) passGatesAgain(ctx context.Context) error {
	for l.paused {
		taken, trying, err := l.client.gates.pass(l.gates(), true)
		switch {
		case err != nil:
			l.countClosed()
			return err
		case trying == nil:
			l.tried, l.paused = taken, false
			return nil
		}
		if late := l.awaitTry(ctx, trying); late != nil {
			late.ofNamespace = true
			return late
		}
	}
	return nil
}

// awaitTry waits until the request that tries a gate has ended.
func (l *lookup) awaitTry(ctx context.Context, trying <-chan struct{}) (late *requestError) {
	over := l.notifyWait()
	defer func() { over(late == nil) }()
	select {
	case <-trying:
		return nil
	case <-ctx.Done():
		return l.notTried(ctx.Err())
	}
}

// awaitCapacity waits for a slot, if the lookup has none, for the rate, and for the turn of a GET.
func (l *lookup) awaitCapacity(ctx context.Context, method string) (err error) {
	if l.slot.limiter == nil {
		key := limiterKey{l.server(), l.MaxInFlight, l.RequestsPerSecond}
		*l.slot, err = l.client.limiters.take(ctx, key, l.Namespace, l.OnWait)
		if err != nil {
			return l.noPlace(err)
		}
	}
	leave, err := l.slot.limiter.rate.EnterNotify(ctx, l.Namespace, 1, l.OnWait)
	if err != nil {
		return l.noPlace(err)
	}
	leave()
	if method != http.MethodGet {
		return nil
	}
	l.slot.leaveGet, err = l.client.Gets.EnterNotify(ctx, l.Namespace, 1, l.OnWait)
	if err != nil {
		return l.noRoom("", err)
	}
	return nil
}

// notTried returns the error of a lookup whose time ended while another one tried a gate.
func (l *lookup) notTried(err error) *requestError {
	return &requestError{
		host: l.Name, err: errors.Join(ErrNoAnswer, err),
		reason: "another lookup was trying whether it is available again, and did not end within the " +
			"time allowed",
	}
}

// noPlace returns the error of a lookup whose turn did not come in time.
func (l *lookup) noPlace(err error) error {
	const reason = "no place among the requests to it within the time allowed"
	return &requestError{host: l.Name, reason: reason, err: errors.Join(ErrNoAnswer, err)}
}

// notifyWait tells OnWait that a wait begins. over ends it.
func (l *lookup) notifyWait() (over func(goesOn bool)) {
	if l.OnWait == nil {
		return func(bool) {}
	}
	return l.OnWait()
}
