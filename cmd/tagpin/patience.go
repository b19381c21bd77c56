// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// maxGuesses limits how often a lookup is repeated if the registry does not say when to ask again,
// because it may be out of service for good.
const maxGuesses = 3

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
	until map[string]time.Time // when the wait for a registry ends that was reported, by its host
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
		wait, named := registry.RetryAfter(err)
		if !named {
			guesses++
		}
		deadline, limited := ctx.Deadline()
		switch left := time.Until(deadline); {
		case ctx.Err() != nil:
			return ended(ctx, err)
		case wait == 0 || guesses > maxGuesses:
			return err
		case limited && left <= wait:
			return fmt.Errorf("%w; that is after the end of %s, in %v", err, p.limit,
				left.Round(time.Second))
		}
		p.announce(err, wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ended(ctx, err)
		}
	}
}

// ended returns the error of a lookup with the reason why the command's time is over.
func ended(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if strings.Contains(err.Error(), cause.Error()) {
		return err
	}
	return fmt.Errorf("%w; %w", err, cause)
}

// announce reports that lookups wait for a registry. Until that wait ends, it says nothing of
// others that wait for the same registry.
func (p *patience) announce(err error, wait time.Duration) {
	host := registry.HostOf(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := p.until[host]; time.Until(until) > 0 {
		return
	}
	if p.until == nil {
		p.until = map[string]time.Time{}
	}
	p.until[host] = time.Now().Add(wait)
	p.report(fmt.Errorf("waiting for %w", err))
}
