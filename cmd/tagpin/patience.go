// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// maxGuesses limits how often a lookup is repeated if the registry does not say when to ask again,
// because it may be out of service for good.
const maxGuesses = 3

// maxReported and reportedTime bound the reports of waits, and what is remembered of them, since
// tenants choose the registries. Each registry counts until its wait ends, and for at least
// reportedTime.
const (
	maxReported  = 100
	reportedTime = time.Minute
)

// patience is a Resolver that waits as long as a registry asks for that limits its requests or is
// out of service for a while, and asks again. It does not wait longer than its context allows.
// Lookups at other registries go on meanwhile.
type patience struct {
	next resolve.Resolver
	// report is called when a registry is waited for.
	report func(error)
	// limit is the flag that ends the waits.
	limit string

	mu    sync.Mutex
	until map[string]time.Time // until when a host is not reported again
}

// Resolve implements resolve.Resolver.
func (p *patience) Resolve(
	ctx context.Context, req resolve.Request,
) (result resolve.Result, err error) {
	err = p.do(ctx, func() error {
		result, err = p.next.Resolve(ctx, req)
		return err
	})
	return result, err
}

// do calls ask until it succeeds, or fails in a way that waiting does not help.
func (p *patience) do(ctx context.Context, ask func() error) error {
	for guesses := 0; ; {
		err := ask()
		if err == nil {
			return nil
		}
		wait, err := p.wait(ctx, err, &guesses)
		if wait == 0 {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ended(ctx, err)
		}
	}
}

// wait returns how long to wait before a lookup that has failed is repeated, or 0 and the error to
// return if it is not. guesses counts the waits that the registry has not named.
func (p *patience) wait(ctx context.Context, err error, guesses *int) (time.Duration, error) {
	wait, named := registry.RetryAfter(err)
	if !named {
		*guesses++
	}
	deadline, limited := ctx.Deadline()
	switch left := time.Until(deadline); {
	case ctx.Err() != nil:
		return 0, ended(ctx, err)
	case wait == 0 || *guesses > maxGuesses:
		return 0, err
	case limited && left <= wait:
		return 0, fmt.Errorf("%w; that is after the end of %s, in %v", err, p.limit,
			left.Round(time.Second))
	}
	waiting := fmt.Errorf("waiting for %w", err)
	if !named {
		waiting = fmt.Errorf("%w; asking again in %v", waiting, wait.Round(time.Second))
	}
	p.announce(registry.HostOf(err), waiting, wait)
	return wait, err
}

// ended returns the error of a lookup with the reason why the command's time is over.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if strings.Contains(err.Error(), cause.Error()) {
		return err
	}
	return fmt.Errorf("%w; %w", err, cause)
}

// announce reports that lookups wait for a registry. Until that wait ends, and for at least
// reportedTime, it says nothing of others that wait for the same registry.
func (p *patience) announce(host string, waiting error, wait time.Duration) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.until, func(_ string, until time.Time) bool { return !until.After(now) })
	if _, reported := p.until[host]; reported || len(p.until) >= maxReported {
		return
	}
	if p.until == nil {
		p.until = map[string]time.Time{}
	}
	p.until[host] = now.Add(max(wait, reportedTime))
	p.report(waiting)
}
