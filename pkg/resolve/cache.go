// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Cache is a Resolver that remembers answers (rules 6 to 8) and shares a lookup among the requests
// that need it at the same time. A lookup that has not been sent yet is shared by all of them, and
// sent when the first of their namespaces has its turn. After it was sent, a deploy does not join
// it, because the tag may have been pushed since. The fields must not change after the first
// request.
type Cache struct {
	Next Resolver
	// Answers is the memory. Successive caches share it. Required.
	Answers *Answers
	// Settings identifies the settings of a registry host. An answer counts only for the settings that
	// it was got with. If nil, all hosts have the same settings.
	Settings func(host string) string
	// Silence is registry.Client.Silence. If nil, only the failure of a lookup itself shows that its
	// registry can't be reached.
	Silence func(host string) time.Duration
}

// Resolve returns an answer that is remembered, or else asks Next or joins a lookup.
func (c *Cache) Resolve(ctx context.Context, req Request) (Result, error) {
	settings := ""
	if c.Settings != nil {
		settings = c.Settings(req.Ref.Host())
	}
	a := c.Answers
	a.init()
	key, limits, began := a.key(req, settings), a.limits.Load(), time.Now()
	known, ok := a.entries.Get(key)
	switch {
	case !ok || req.Fresh:
	case known.err != nil && time.Since(known.errAt) < limits.NegativeTTL:
		if req.First {
			return Result{Cached: true}, known.err
		}
		result, err := c.stale(known, req, began, known.err)
		result.Cached = true
		return result, err
	case known.err == nil && !req.First && time.Since(known.at) < limits.TTL:
		return Result{Digest: known.digest, Cached: true}, nil
	}
	result, err := c.join(ctx, key, req)
	if err != nil && !req.Fresh && !req.First {
		return c.stale(known, req, began, err)
	}
	return result, err
}

// stale returns the last digest if err is an outage and the digest is not too old, and else err.
func (c *Cache) stale(known entry, req Request, began time.Time, err error) (Result, error) {
	var silence time.Duration
	if c.Silence != nil {
		silence = c.Silence(req.Ref.Host())
	}
	if known.digest == "" || time.Since(known.at) >= c.Answers.limits.Load().StaleFor ||
		!isOutage(err, began, silence) {
		return Result{}, err
	}
	return Result{Digest: known.digest, Cached: true, Stale: true}, nil
}

// namespaceError is a registry.ErrOfNamespace with the namespace.
type namespaceError struct {
	error

	namespace string
}

// Unwrap returns the failure.
func (e *namespaceError) Unwrap() error { return e.error }

// join waits for a lookup of key. If it fails for something that only concerns another namespace,
// it waits for the next one.
func (c *Cache) join(ctx context.Context, key cacheKey, req Request) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, Late(ctx, req.Ref)
	}
	caller := cache.Caller{Namespace: req.Namespace, Fresh: req.Fresh || req.First}
	result, err := c.Answers.flights.DoQueued(ctx, key, caller,
		func(ctx context.Context, begin func() error) (Result, error) {
			return c.ask(ctx, key, req, begin)
		})
	other := new(namespaceError)
	switch {
	case errors.As(err, &other) && other.namespace != req.Namespace && ctx.Err() == nil:
		return c.join(ctx, key, req)
	case err == nil || errors.As(err, new(failure.Class)):
		return result, err
	case ctx.Err() != nil:
		return Result{}, Late(ctx, req.Ref)
	}
	return Result{}, noAnswer(fmt.Sprintf("%s: %v", req.Ref.Host(), err), registry.ErrNoAnswer)
}

// ask asks Next and remembers the answer. A failure is remembered only if the registry was asked
// and had its time. Else it has to do with the namespace, and not with the image.
func (c *Cache) ask(
	ctx context.Context, key cacheKey, req Request, begin func() error,
) (Result, error) {
	asked, q := false, c.Answers.ask()
	req.begin = func() error {
		err := begin()
		if err == nil && !asked {
			asked, q = true, c.Answers.ask()
		}
		return err
	}
	result, err := c.Next.Resolve(ctx, req)
	if errors.Is(err, registry.ErrOfNamespace) {
		return Result{}, &namespaceError{err, req.Namespace}
	}
	if err == nil || asked && ctx.Err() == nil {
		c.Answers.remember(key, req.Namespace, q, result.Digest, err)
	}
	return result, err
}
