// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// maxConcurrent is the maximum number of lookups of one object that run at a time. A tenant may
	// create an object with thousands of images. Each lookup that runs needs a goroutine with
	// a stack of about 8 KiB, which is most of the memory that hundreds of reviews at a time need.
	maxConcurrent = 16
	// indexThreshold is the number of lookups from which on they are found by a map.
	indexThreshold = 16
)

// lookups are the distinct lookups of one object.
type lookups struct {
	all         []*lookup
	byCanonical map[string][]*lookup // nil below indexThreshold
}

// lookup is the lookup of one image with one pull identity.
type lookup struct {
	canonical string
	identity  workload.Identity
	ref       ref.Reference
	outcomes  []int // the indexes of the outcomes that share the lookup
	result    resolve.Result
	err       error
}

// add adds a lookup for an outcome. Outcomes with the same image and identity share one lookup, so
// that the object gets one digest for one image.
func (l *lookups) add(d policy.Decision, id workload.Identity, outcome int) {
	canonical := d.Parsed.Canonical()
	candidates := l.all
	if l.byCanonical != nil {
		candidates = l.byCanonical[canonical]
	}
	for _, job := range candidates {
		if job.canonical == canonical && job.identity.Equal(id) {
			job.outcomes = append(job.outcomes, outcome)
			return
		}
	}
	l.all = append(l.all, &lookup{
		canonical: canonical, identity: id, ref: d.Parsed, outcomes: []int{outcome},
	})
	missing := l.all[len(l.all)-1:] // from the map
	switch {
	case len(l.all) == indexThreshold:
		l.byCanonical, missing = map[string][]*lookup{}, l.all
	case len(l.all) < indexThreshold:
		return
	}
	for _, job := range missing {
		l.byCanonical[job.canonical] = append(l.byCanonical[job.canonical], job)
	}
}

// run runs all lookups and waits for them: at most maxConcurrent at a time, and when these have
// begun, the first one on this goroutine. Lookups that have not begun when ctx ends fail at once.
// first is true for the first pod of a revision.
func (l *lookups) run(ctx context.Context, p *Pinner, req Request, first bool) {
	if len(l.all) == 0 {
		return
	}
	churn := !req.Object.Metadata.Controller.IsZero()
	resolveOne := func(job *lookup) {
		if ctx.Err() != nil {
			job.err = resolve.Late(ctx, job.ref)
			return
		}
		rr := resolve.Request{
			Ref: job.ref, Namespace: req.Namespace, Sender: req.Sender, Fresh: !churn, First: first,
		}
		err := p.Panics.Catch("looking up an image", func() error {
			if req.Keychain != nil {
				rr.Keychain = req.Keychain(job.identity)
			}
			job.result, job.err = p.Resolver.Resolve(ctx, rr)
			return nil
		})
		if err != nil {
			job.err = fmt.Errorf("%w: %w", resolve.ErrUnavailable, err)
		}
	}
	var group errgroup.Group
	group.SetLimit(maxConcurrent)
	for _, job := range l.all[1:] {
		if ctx.Err() != nil {
			resolveOne(job) // it fails at once, and needs no goroutine
			continue
		}
		group.Go(func() error { resolveOne(job); return nil })
	}
	resolveOne(l.all[0])
	_ = group.Wait() // the functions return nil; each job has its own error
}
