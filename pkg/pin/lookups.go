// SPDX-License-Identifier: Apache-2.0

package pin

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxConcurrent is the maximum number of lookups of one object that run at a time, unless the
// Pinner runs all of them. A tenant may create an object with thousands of images. Each lookup that
// waits needs a goroutine with a stack of about 8 KiB, which is most of the memory that hundreds of
// reviews at a time need. More would gain little: by default a namespace may send as many requests
// to a registry at a time, and under load it has room for as many (resolve.Pending), beyond which
// lookups fail instead of waiting.
const maxConcurrent = 16

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
	if job := l.byKey[key]; job != nil {
		job.outcomes = append(job.outcomes, outcome)
		return
	}
	job := &lookup{identity: o.PodSpecs[podSpec].Identity, ref: r, outcomes: []int{outcome}}
	l.all = append(l.all, job)
	if l.byKey == nil {
		l.byKey = map[lookupKey]*lookup{}
	}
	l.byKey[key] = job
}

// identities numbers the distinct pull identities of an object, which may be thousands.
type identities struct {
	numbers map[string]int // by the names in them
	podSpec int            // whose number is last
	last    int
}

// number returns the number of the identity of a pod spec. Those of one pod spec come one after the
// other.
func (ids *identities) number(o *workload.Object, podSpec int) int {
	if len(o.PodSpecs) == 1 || ids.numbers != nil && podSpec == ids.podSpec {
		return ids.last
	}
	id := o.PodSpecs[podSpec].Identity
	var names strings.Builder
	for _, name := range append([]string{id.ServiceAccount}, id.PullSecrets...) {
		names.WriteString(strconv.Itoa(len(name)) + ":" + name)
	}
	n, known := ids.numbers[names.String()]
	if !known {
		if ids.numbers == nil {
			ids.numbers = map[string]int{}
		}
		n = len(ids.numbers)
		ids.numbers[names.String()] = n
	}
	ids.podSpec, ids.last = podSpec, n
	return n
}

// serialFor is how long the lookups for a controller's object run one after another. Most are
// answered from memory in a few microseconds, and need no other goroutine. No registry answers as
// fast.
const serialFor = 200 * time.Microsecond

// run runs all lookups side by side and waits for them. Those for a controller's object only do so
// if they are not over soon. Lookups that have not begun when ctx ends fail at once.
func (l *lookups) run(ctx context.Context, p *Pinner, req Request) {
	if len(l.all) == 0 {
		return
	}
	resolver := p.resolver(ctx, req, l.references)
	// An object that no controller made is a deploy: it asks the registry, not the cache.
	fresh := req.Object.Metadata.Controller.IsZero()
	resolveOne := func(job *lookup) {
		rr := resolve.Request{
			Ref: job.ref, Namespace: req.Namespace, Sender: req.Sender, Fresh: fresh,
		}
		err := p.Panics.Catch("looking up an image", func() error {
			if req.Keychain != nil {
				rr.Keychain = req.Keychain(job.identity)
			}
			job.result, job.err = resolver.Resolve(ctx, rr)
			return nil
		})
		if err != nil {
			job.err = fmt.Errorf("%w: %w", failure.Unavailable, err)
		}
	}
	atOnce := len(l.all)
	if !p.AllAtOnce {
		atOnce = min(atOnce, maxConcurrent)
	}
	var begun atomic.Int64
	work := func() {
		for i := begun.Add(1); i <= int64(len(l.all)); i = begun.Add(1) {
			resolveOne(l.all[i-1])
		}
	}
	var others sync.WaitGroup // goroutines, beside this one
	help := func() {
		for range atOnce - 1 {
			others.Go(work)
		}
	}
	if fresh {
		help()
		work()
	} else {
		others.Add(1) // for the timer
		timer := time.AfterFunc(serialFor, func() { help(); others.Done() })
		work()
		if timer.Stop() {
			others.Done()
		}
	}
	others.Wait()
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
