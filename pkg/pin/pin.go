// SPDX-License-Identifier: Apache-2.0

// Package pin is the heart of tagpin: from the references of an object to their pins.
//
//	references → decide (package policy) → unique → resolve side by side (package resolve) → outcomes in order
//
// The webhook and the command-line tool are its two users. It knows neither JSON patches nor YAML, and what a failed
// look-up means for the object is its caller's to say.
package pin

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Mode is what to do with references that are not pinned.
type Mode int

// The modes.
const (
	Enforce Mode = iota // pin them
	DryRun              // propose pins, and keep those there are
	Keep                // make none, keep those there are: the way out
)

// String is the mode as it stands in the label and the webhook's path.
func (m Mode) String() string {
	switch m {
	case Enforce:
		return "enforce"
	case DryRun:
		return "dry-run"
	case Keep:
		return "keep"
	}
	return fmt.Sprintf("Mode(%d)", int(m))
}

// Siblings know what the pods of one owner revision run.
type Siblings interface {
	// Running returns the digests that the siblings of a pod run, by text, as far as any do. first says that none runs the
	// others; it is false without an error where siblings are no matter, or not to be had. An error says that they are not known.
	// decides says that what is missing will be decided, so that it is worth a request to know it for sure.
	Running(ctx context.Context, namespace string, pod *workload.Object, texts []string, decides bool) (running map[string]digest.Digest, first bool, err error)
	// Decide tells what the first pod of a revision gets for a text, and returns what it is to get: another may have been
	// faster.
	Decide(namespace string, pod *workload.Object, text string, d digest.Digest) digest.Digest
}

// Pinner pins the references of objects. It is safe for concurrent use.
type Pinner struct {
	Policy   policy.Policy
	Resolver resolve.Resolver
	// Siblings are asked for the pods that controllers make. Nil: nothing is known of them.
	Siblings Siblings
	// Panics is told of panics in look-ups: each fails the references that wait for it.
	Panics *panics.Reporter
}

// Request is one object to pin.
type Request struct {
	policy.Input

	Mode      Mode
	Namespace string // the request's: where the pull secrets are, and who shares a registry
	Sender    string // the address that the request came from
	DryRun    bool   // the request stores nothing, whatever the mode: what is decided is not remembered
	// Keychain gives the credentials of a pull identity in that namespace. Nil: anonymous alone.
	Keychain func(workload.Identity) keychain.Keychain
}

// Result is what becomes of an object.
type Result struct {
	Skipped  policy.Reason // not empty: the object is not ours, and there are no outcomes
	Outcomes []Outcome     // one for each reference, in document order
}

// Outcome is what becomes of one reference.
type Outcome struct {
	policy.Decision

	Pin           ref.Reference // what the field is to hold; in DryRun, for Action Resolve, what it would hold. Zero: as it is
	Entry         ref.Reference // text@digest, where Pin is tagpin's
	Err           error         // of the look-up, in one of the classes of package resolve
	Cached, Stale bool          // as resolve.Result has them
}

// Pin decides about each reference and resolves those that need it, each once and side by side, within ctx. It costs no
// request where every decision can be made without one. It returns when each look-up has ended.
func (p *Pinner) Pin(ctx context.Context, req Request) Result {
	_, s := span.Start(ctx, "decide")
	decisions, skip := p.decide(req)
	s.Number("tagpin.references", len(decisions))
	s.End()
	if skip != "" {
		return Result{Skipped: skip}
	}
	running, first, unknown := p.running(ctx, req, decisions)
	outcomes := make([]Outcome, len(decisions))
	var jobs lookups
	for i, d := range decisions {
		outcomes[i].Decision = d
		sibling := running[d.Parsed.Text()]
		switch {
		case d.Action == policy.Restore:
			outcomes[i].Pin, outcomes[i].Entry = d.Held, d.Parsed.WithDigest(d.Held.Digest())
		case d.Reason == policy.TooLong:
			outcomes[i].Err = resolve.Invalid(d.Err)
		case d.Action == policy.Resolve && d.Reason == policy.Kept:
			p.pin(&outcomes[i], d.Held.Digest())
		case d.Action == policy.Resolve && sibling != "":
			outcomes[i].Reason = policy.Sibling
			p.pin(&outcomes[i], sibling)
		case d.Action == policy.Resolve && unknown != nil && ctx.Err() != nil:
			outcomes[i].Err = resolve.Late(ctx, d.Parsed)
		case d.Action == policy.Resolve && unknown != nil:
			outcomes[i].Err = unknown
		case d.Action == policy.Resolve:
			jobs.add(d, req.Object.PodSpecs[d.PodSpec].Identity, i)
		}
	}
	jobs.run(ctx, p, req, first)
	for _, job := range jobs.all {
		for _, i := range job.wanted {
			o := &outcomes[i]
			o.Cached, o.Stale, o.Err = job.result.Cached, job.result.Stale, job.err
			if job.err == nil {
				p.pin(o, p.decided(req, o.Parsed.Text(), job.result.Digest))
			}
		}
	}
	return Result{Outcomes: outcomes}
}

// errSiblings is what is told of siblings that are not known: the cause is not the tenant's, and may name addresses.
var errSiblings = fmt.Errorf("%w: the API server has not told what the other pods of its revision run", resolve.ErrUnavailable)

// running is rule 7: what the siblings of a pod that a controller makes run, by text. first tells that what is missing there
// no sibling runs, and err that it is not known, so that nothing may be resolved.
func (p *Pinner) running(ctx context.Context, req Request, decisions []policy.Decision) (running map[string]digest.Digest, first bool, err error) {
	if !p.hasSiblings(req) {
		return nil, false, nil
	}
	var texts []string
	for i := range decisions {
		if d := &decisions[i]; d.Action == policy.Resolve && d.Reason == policy.Tag {
			texts = append(texts, d.Parsed.Text())
		}
	}
	if len(texts) == 0 {
		return nil, false, nil
	}
	running, first, err = p.Siblings.Running(ctx, req.Namespace, req.Object, texts, stored(req))
	if err != nil {
		err = errSiblings
	}
	return running, first, err
}

func (p *Pinner) hasSiblings(req Request) bool {
	return p.Siblings != nil && req.Operation == policy.Create &&
		req.Object.Kind == workload.Kind{Kind: "Pod"} && !req.Object.Metadata.Controller.IsZero()
}

// decided tells the siblings to come of a digest that was looked up, if it is to be stored.
func (p *Pinner) decided(req Request, text string, d digest.Digest) digest.Digest {
	if !stored(req) || !p.hasSiblings(req) {
		return d
	}
	return p.Siblings.Decide(req.Namespace, req.Object, text, d)
}

// stored tells whether the pins of a request may come to be stored.
func stored(req Request) bool { return req.Mode == Enforce && !req.DryRun }

// decide asks the policy, and then says what the mode makes of it.
func (p *Pinner) decide(req Request) ([]policy.Decision, policy.Reason) {
	req.Hold = req.Mode != Enforce
	decisions, skip := p.Policy.Decide(req.Input)
	if skip != "" {
		return nil, skip
	}
	switch {
	case req.Mode == Keep:
		for i := range decisions {
			if decisions[i].Action == policy.Resolve {
				decisions[i].Action, decisions[i].Reason = policy.Leave, policy.KeepOnly
			}
		}
	case req.Mode == DryRun && (wantsResolve(decisions) || p.Policy.Refreshes(req.Input)):
		p.propose(req, decisions)
	}
	return decisions, ""
}

// propose extends the decisions of an update: where one text has changed, or a refresh is asked for, the proposals are
// made anew for all that a creation would resolve.
func (p *Pinner) propose(req Request, decisions []policy.Decision) {
	created := req.Input
	created.Operation, created.Old = policy.Create, nil
	all, skip := p.Policy.Decide(created)
	if skip != "" {
		return
	}
	for i := range decisions {
		if decisions[i].Reason == policy.Unchanged && all[i].Action == policy.Resolve {
			decisions[i] = all[i]
		}
	}
}

func wantsResolve(decisions []policy.Decision) bool {
	for i := range decisions {
		if decisions[i].Action == policy.Resolve {
			return true
		}
	}
	return false
}

func (p *Pinner) pin(o *Outcome, d digest.Digest) {
	o.Entry = o.Parsed.WithDigest(d)
	o.Pin = o.Entry
	if p.Policy.Output == policy.DigestOnly {
		o.Pin = o.Entry.WithoutTag()
	}
}

// Bounds of one object, of which a tenant may make one with tens of thousands of images. A look-up
// that waits needs a goroutine, whose stack has about 8 KiB: with hundreds of reviews at once it is
// the larger part of their memory.
const (
	maxSideBySide = 16 // look-ups
	fewLookups    = 16 // that are compared one by one
)

// lookups are the distinct look-ups of one object.
type lookups struct {
	all []*lookup
	by  map[string][]*lookup // by canonical form, where they are more than a few
}

type lookup struct {
	canonical string
	identity  workload.Identity
	ref       ref.Reference
	wanted    []int // indices of outcomes
	result    resolve.Result
	err       error
}

// add joins a look-up of the same image by the same identity, so that one object has one answer.
func (l *lookups) add(d policy.Decision, id workload.Identity, outcome int) {
	canonical := d.Parsed.Canonical()
	alike := l.all
	if l.by != nil {
		alike = l.by[canonical]
	}
	for _, job := range alike {
		if job.canonical == canonical && job.identity.Equal(id) {
			job.wanted = append(job.wanted, outcome)
			return
		}
	}
	l.all = append(l.all, &lookup{canonical: canonical, identity: id, ref: d.Parsed, wanted: []int{outcome}})
	fresh := l.all[len(l.all)-1:]
	switch {
	case len(l.all) == fewLookups:
		l.by, fresh = map[string][]*lookup{}, l.all
	case len(l.all) < fewLookups:
		return
	}
	for _, job := range fresh {
		l.by[job.canonical] = append(l.by[job.canonical], job)
	}
}

// run resolves all, at most maxSideBySide at a time beside the first, which is left to this
// goroutine, and waits. Look-ups that have not begun when ctx ends fail at once. first is for the
// first pod of a revision.
func (l *lookups) run(ctx context.Context, p *Pinner, req Request, first bool) {
	if len(l.all) == 0 {
		return
	}
	churn := !req.Object.Metadata.Controller.IsZero()
	ask := func(job *lookup) {
		if ctx.Err() != nil {
			job.err = resolve.Late(ctx, job.ref)
			return
		}
		rr := resolve.Request{Ref: job.ref, Namespace: req.Namespace, Sender: req.Sender, Fresh: !churn, First: first}
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
	group.SetLimit(maxSideBySide)
	for _, job := range l.all[1:] {
		if ctx.Err() != nil {
			ask(job) // which spares a goroutine
			continue
		}
		group.Go(func() error { ask(job); return nil })
	}
	ask(l.all[0])
	_ = group.Wait() // there are none: each job has its own
}
