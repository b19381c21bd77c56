// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	defaultParallel = 16
	defaultTimeout  = 30 * time.Second
)

// Auditor asks registries about collected pods. Only Images is required.
type Auditor struct {
	// Images asks registries and their mirrors.
	Images *resolve.Mirrors
	// Keychain returns the credentials of a pull identity. If nil, there are none.
	Keychain func(namespace string, id workload.Identity) keychain.Keychain
	// Exempt reports whether an unpinned image is meant to stay so. If nil, none is.
	Exempt func(ref.Reference) bool
	// LeaveShortNames is true if names without a host are not on Docker Hub. They are looked up where
	// the node has found them.
	LeaveShortNames bool
	// Parallel is the number of lookups at a time. Default: 16.
	Parallel int
	// Timeout is the time for one lookup with one credential. Default: 30 s.
	Timeout time.Duration
	// ForTenants is true if tenants may read the report. Then its details don't say what the network
	// answers from here; Finding.Causes does.
	ForTenants bool
	// Until is when lookups end. What was not looked up by then is unknown. If zero, they have no end.
	Until time.Time
	// Wait returns how long to wait before a lookup that has failed is repeated, such as a wait that
	// the registry wants. If wait is 0, the lookup is not repeated, and final is its error. guesses is
	// 0 at first, and Wait may count in it. If Wait is nil, no lookup is repeated.
	Wait func(ctx context.Context, err error, guesses *int) (wait time.Duration, final error)
	// LastMissing keeps what was gone in the last report until its registry answers again. If nil, a
	// report does not depend on others.
	LastMissing *LastMissing
	// Panics reports panics in lookups. The image of one that panics is unknown. If nil, they are not
	// reported.
	Panics *panics.Reporter
	// Progress is called when the number of lookups changes, one call at a time. It may be nil.
	Progress func(done, all int)

	mu        sync.Mutex
	done, all int // lookups of the report that is being made
}

func (a *Auditor) parallel() int          { return cmp.Or(a.Parallel, defaultParallel) }
func (a *Auditor) timeout() time.Duration { return cmp.Or(a.Timeout, defaultTimeout) }

// progress adds to the number of lookups.
func (a *Auditor) progress(done, all int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done += done
	a.all += all
	if a.Progress != nil {
		a.Progress(a.done, a.all)
	}
}

// Report looks up the images of the collected pods and judges each row. The error is that of ctx.
// It uses the collector up, and must not be called twice at the same time.
func (a *Auditor) Report(ctx context.Context, c *Collector) (*Report, error) {
	a.done, a.all = 0, 0
	all := map[string][]*subject{}
	names := slices.Sorted(maps.Keys(c.namespaces))
	for _, name := range names {
		rows := c.namespaces[name].rows
		for _, k := range slices.SortedFunc(maps.Keys(rows), compareKeys) {
			all[name] = append(all[name], a.readSubject(k, rows[k]))
		}
		delete(c.namespaces, name)
	}
	a.lookUp(ctx, all)
	r := &Report{Time: time.Now(), Summary: Summary{Pods: c.Pods, Lookups: a.all}}
	for _, name := range names {
		explained := 0
		for _, s := range all[name] {
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			f := a.judge(s)
			if len(f.Causes) > 0 {
				if explained++; explained > MaxCauses {
					f.Causes = nil
				}
			}
			r.add(f)
		}
		delete(all, name)
	}
	r.finish()
	return r, context.Cause(ctx)
}

// readSubject returns the subject of a row. If reading what a tenant has written panics, nothing is
// asked.
func (a *Auditor) readSubject(k key, r *row) (s *subject) {
	err := a.Panics.Catch("reading an image of a pod", func() error {
		s = a.newSubject(k, r)
		return nil
	})
	if err != nil {
		return &subject{key: k, row: r, invalid: err.Error()}
	}
	return s
}
