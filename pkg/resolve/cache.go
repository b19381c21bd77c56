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
	// Limits say how old an answer may be. The zero value uses none.
	Limits Limits
	// Client has the settings of the registries, and knows how long each has been silent. An answer
	// counts only for the settings that it was got with. Required.
	Client *registry.Client
}

// Limits are the maximum ages of remembered answers.
type Limits struct {
	TTL         time.Duration // of a digest; Fresh and First requests use none
	NegativeTTL time.Duration // of a failure
	StaleFor    time.Duration // of a digest if the lookup is unavailable
}

// Resolve returns an answer that is remembered, or else asks Next or joins a lookup.
func (c *Cache) Resolve(ctx context.Context, req Request) (Result, error) {
	a := c.Answers
	a.init()
	key, began := a.key(req, c.Client.Settings(req.Ref.Host())), time.Now()
	known, ok := a.entries.Get(key)
	switch {
	case !ok || req.Fresh || req.renewed && known.failed != nil:
	case known.failed != nil && a.age(known.failed.at) < c.Limits.NegativeTTL:
		if req.First {
			return Result{Cached: true}, known.failed.err
		}
		result, err := c.stale(known, req, began, known.failed.err)
		result.Cached = true
		return result, err
	case known.failed == nil && !req.First && a.age(known.asked) < c.Limits.TTL,
		c.answersSince(known, req):
		return Result{Digest: known.text(), Cached: true}, nil
	}
	result, err := c.join(ctx, key, req)
	if err != nil && !req.Fresh && !req.First {
		return c.stale(known, req, began, err)
	}
	return result, err
}

// answersSince reports whether a known digest will do for a request because of its Since.
func (c *Cache) answersSince(known entry, req Request) bool {
	a := c.Answers
	return known.failed == nil && !req.Since.IsZero() && known.asked > req.Since.Sub(a.began) &&
		a.age(known.asked) < c.Limits.TTL
}

// stale returns the last digest if err is an outage and the digest is not too old, and else err.
func (c *Cache) stale(known entry, req Request, began time.Time, err error) (Result, error) {
	if known.asked == 0 || c.Answers.age(known.asked) >= c.Limits.StaleFor ||
		!isOutage(err, began, c.Client.Silence(req.Ref.Host())) {
		return Result{}, err
	}
	return Result{Digest: known.text(), Cached: true, Stale: true}, nil
}

// join waits for a lookup of key.
func (c *Cache) join(ctx context.Context, key cacheKey, req Request) (Result, error) {
	if ctx.Err() != nil {
		return Result{}, Late(ctx, req.Ref)
	}
	caller := cache.Caller{Namespace: req.Namespace, Fresh: req.Fresh || req.First || req.renewed}
	result, err := c.Answers.flights.DoQueued(ctx, key, caller,
		func(ctx context.Context, turn cache.Turn) (Result, error) {
			// A lookup that had begun before may have ended meanwhile.
			if known, ok := c.Answers.entries.Get(key); ok && c.answersSince(known, req) {
				return Result{Digest: known.text(), Cached: true}, nil
			}
			return c.ask(ctx, key, req, turn)
		})
	switch {
	case err == nil || errors.As(err, new(failure.Class)):
		return result, err
	case ctx.Err() != nil:
		return Result{}, Late(ctx, req.Ref)
	}
	return Result{}, noAnswer(fmt.Sprintf("%s: %v", req.Ref.Host(), err), registry.ErrNoAnswer)
}

// ask asks Next and remembers the answer. A failure is remembered only if the registry was asked
// and had its time. Otherwise it has to do with the namespace, and not with the image.
func (c *Cache) ask(
	ctx context.Context, key cacheKey, req Request, turn cache.Turn,
) (Result, error) {
	begun, asked := false, c.Answers.stamp()
	req.begin = func() error {
		err := turn.Start()
		if err == nil && !begun {
			begun, asked = true, c.Answers.stamp()
		}
		return err
	}
	req.onWait = turn.Wait
	result, err := c.Next.Resolve(ctx, req)
	if errors.Is(err, registry.ErrOfNamespace) {
		return Result{}, err
	}
	if err == nil || begun && ctx.Err() == nil {
		c.Answers.remember(key, req.Namespace, asked, result.Digest, err)
	}
	return result, err
}
