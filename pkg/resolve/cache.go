// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Cache answers from memory what it may, and makes one look-up of those that are asked for at once. The
// fields must not change after the first request.
//
// A look-up that has not been sent yet is shared by all who want it, and is sent when the turn of any
// of their namespaces comes. Once it was sent, a deploy does not join it: the tag may have been pushed
// since.
type Cache struct {
	Next Resolver
	// Answers is what is remembered. Caches that succeed each other share it. Required.
	Answers *Answers
	// Settings identifies what the config says about a registry host: an answer that was got by other
	// settings does not count. Nil: all hosts have the same.
	Settings func(host string) string
}

// Resolve answers from memory what it may, and asks Next otherwise, or joins a look-up.
func (c *Cache) Resolve(ctx context.Context, req Request) (Result, error) {
	settings := ""
	if c.Settings != nil {
		settings = c.Settings(req.Ref.Host())
	}
	a := c.Answers
	a.init()
	key, limits := a.keys.of(req, settings), a.current()
	known, ok := a.entries.Get(key)
	if ok && !req.Fresh {
		switch now := a.now(); {
		case known.err != nil && now-known.errAt < limits.NegativeTTL && req.First:
			return Result{Cached: true}, known.err
		case known.err != nil && now-known.errAt < limits.NegativeTTL:
			result, err := a.stale(&known, limits, known.err)
			result.Cached = true
			return result, err
		case known.err == nil && !req.First && now-known.at < limits.TTL:
			return known.result(false), nil
		}
	}
	result, err := c.ask(ctx, key, req)
	if err != nil && !req.Fresh && !req.First {
		return a.stale(&known, limits, err)
	}
	return result, err
}

// crowded is a lookup that failed for what its namespace has under way, or has done before. It says
// nothing to another namespace.
type crowded struct {
	error

	namespace string
}

// Unwrap returns the failure.
func (c *crowded) Unwrap() error { return c.error }

// ask waits for a look-up of key, one that is under way or its own. The failure of another namespace for
// what that one has under way is no answer: then it asks again.
func (c *Cache) ask(ctx context.Context, key cacheKey, req Request) (Result, error) {
	caller := cache.Caller{Namespace: req.Namespace, Fresh: req.Fresh || req.First}
	if ctx.Err() != nil {
		return Result{}, Late(ctx, req.Ref)
	}
	result, err := c.Answers.flights.DoQueued(ctx, key, caller, func(ctx context.Context, begin func() error) (Result, error) {
		return c.look(ctx, key, req, begin)
	})
	others := new(crowded)
	switch {
	case errors.As(err, &others) && others.namespace != req.Namespace && ctx.Err() == nil:
		return c.ask(ctx, key, req)
	case err == nil || errors.As(err, new(failure.Class)):
		return result, err
	case ctx.Err() != nil:
		return Result{}, Late(ctx, req.Ref)
	}
	return Result{}, failure.Errorf(failure.Unavailable, "%s: %w", req.Ref.Host(), err)
}

// Late returns the error of a lookup whose caller waits no longer. A caller that has a reason of its own
// gives it as the cause of the context's end.
func Late(ctx context.Context, r ref.Reference) error {
	why := context.Cause(ctx)
	if errors.Is(why, context.DeadlineExceeded) || errors.Is(why, context.Canceled) {
		why = errors.New("no answer within the time allowed")
	}
	return failure.Errorf(failure.Unavailable, "%s: %w", r.Host(), why)
}

// look asks Next and remembers what it says. A failure is remembered only if the registry was asked and
// had its time: that a namespace got no turn, or got it late, is nothing about the image.
func (c *Cache) look(ctx context.Context, key cacheKey, req Request, begin func() error) (Result, error) {
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
		return Result{}, &crowded{err, req.Namespace}
	}
	if err == nil || asked && ctx.Err() == nil {
		c.Answers.remember(key, req.Namespace, q, result, err)
	}
	return result, err
}
