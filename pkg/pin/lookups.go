// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// lookups are the distinct lookups of one object.
type lookups struct {
	all        []*lookup
	byKey      map[lookupKey]*lookup
	identities identities
	references []ref.Reference // of all outcomes that need a lookup
}

// lookupKey is what a lookup is for: a canonical reference, and the number of an identity.
type lookupKey struct {
	canonical string
	identity  int
}

// lookup is the lookup of one image with one pull identity.
type lookup struct {
	identity workload.Identity
	ref      ref.Reference
	outcomes []int // the indexes of the outcomes that share the lookup
	result   resolve.Result
	err      error
}

// add adds a lookup for an outcome, which is one of the pod spec with an index. Outcomes with the
// same image and identity share one lookup, so that the object gets one digest for one image.
func (l *lookups) add(o *workload.Object, podSpec int, r ref.Reference, outcome int) {
	l.references = append(l.references, r)
	key := lookupKey{r.Canonical(), l.identities.number(o, podSpec)}
	if one := l.byKey[key]; one != nil {
		one.outcomes = append(one.outcomes, outcome)
		return
	}
	one := &lookup{identity: o.PodSpecs[podSpec].Identity, ref: r, outcomes: []int{outcome}}
	l.all = append(l.all, one)
	if l.byKey == nil {
		l.byKey = map[lookupKey]*lookup{}
	}
	l.byKey[key] = one
}

// run runs all lookups and waits for them. The calling goroutine runs one after another, and
// helpers run others at the same time. Lookups that have not begun when ctx ends fail at once. The
// result is that of Result.Impatient.
func (l *lookups) run(ctx context.Context, p *Pinner, req Request) (tooLong bool) {
	if len(l.all) == 0 {
		return false
	}
	resolver := p.resolver(ctx, req, l.references)
	ctx, done := p.Patience.bound(ctx, &req)
	defer done()
	// An object that no controller made is a deploy: it asks the registry, not the cache.
	fresh := req.Object.Metadata.Controller.IsZero()
	resolveOne := func(one *lookup) {
		rr := resolve.Request{
			Ref: one.ref, Namespace: req.Namespace, Sender: req.Sender, Fresh: fresh,
		}
		err := p.Panics.Catch("looking up an image", func() error {
			if req.Keychain != nil {
				rr.Keychain = req.Keychain(one.identity)
			}
			one.result, one.err = resolver.Resolve(ctx, rr)
			return nil
		})
		if err != nil {
			one.err = fmt.Errorf("%w: %w", failure.Unavailable, err)
		}
	}
	var taken atomic.Int64
	next := func() *lookup {
		if i := taken.Add(1); i <= int64(len(l.all)) {
			return l.all[i-1]
		}
		return nil
	}
	h := helpers{room: p.Helpers, sender: req.Sender, namespace: req.Namespace}
	h.limit = len(l.all) - 1
	if !p.AllAtOnce {
		h.limit = min(h.limit, maxConcurrent-1)
	}
	h.work = func() {
		for one := next(); one != nil; one = next() {
			resolveOne(one)
		}
	}
	if !fresh {
		h.wait = serialFor
	}
	h.run(func() {
		for one := next(); one != nil; one = next() {
			h.begin() // before each lookup, because there may be room now
			resolveOne(one)
		}
	})
	return impatient(ctx)
}

// resolver returns the Resolver for one object. It does not call the Pinner's Resolver after ctx
// has ended, but the Layer may still have an answer.
func (p *Pinner) resolver(
	ctx context.Context, req Request, lookups []ref.Reference,
) resolve.Resolver {
	inTime := func(ctx context.Context, rr resolve.Request) (resolve.Result, error) {
		if ctx.Err() != nil {
			return resolve.Result{}, resolve.Late(ctx, rr.Ref)
		}
		return p.Resolver.Resolve(ctx, rr)
	}
	if p.Layer == nil {
		return resolve.Func(inTime)
	}
	return p.Layer(ctx, resolve.Func(inTime), req, lookups)
}
