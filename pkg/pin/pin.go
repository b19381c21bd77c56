// SPDX-License-Identifier: Apache-2.0

// Package pin turns the references of an object into pins.
//
//	references → decisions (package policy) → distinct lookups → digests (package resolve) → outcomes
//
// The webhook and the command-line tool use it. It doesn't know JSON patches or YAML. If a lookup
// fails, the caller decides what that means for the object.
package pin

import (
	"context"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Mode says what to do with references that are not pinned.
type Mode int

// The modes. Each of them keeps the pins that an object already has.
const (
	Enforce Mode = iota // pin the references
	DryRun              // only propose pins
	Keep                // make no new pins, for a namespace that is leaving tagpin
)

// String returns the mode as it is written in the namespace label and in the webhook's path.
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

// Pinner pins the references of objects. It is safe for concurrent use.
type Pinner struct {
	Policy   policy.Policy
	Resolver resolve.Resolver
	// Siblings knows what the siblings of a controller's pod run. If nil, rule 7 (see package policy)
	// does not apply.
	Siblings Siblings
	// Panics reports panics that occur in lookups. A panic fails the references that share the lookup.
	// If nil, panics are not reported.
	Panics *panics.Reporter
}

// Request is one object to pin.
type Request struct {
	policy.Input

	Mode Mode
	// Namespace is the namespace of the request. It has the pull secrets, and each namespace has its
	// own share of a registry's capacity.
	Namespace string
	// Sender is the address that the request came from.
	Sender string
	// DryRun is true if the API server stores nothing, whatever the mode. Digests are then not
	// recorded with Siblings.Decide.
	DryRun bool
	// Keychain returns the credentials of a pull identity in the namespace. If nil, registries are
	// asked anonymously.
	Keychain func(workload.Identity) keychain.Keychain
}

// Result is the result for an object.
type Result struct {
	// Skipped is the reason why the object is left alone (rule 1, see package policy), or "". If it
	// is set, there are no outcomes.
	Skipped policy.Reason
	// Outcomes has one outcome for each reference, in document order.
	Outcomes []Outcome
}

// Outcome is the result for one reference.
type Outcome struct {
	policy.Decision

	// Pin is the new value of the field, or zero if the field stays as it is. With the mode DryRun
	// and the action Resolve it is only a proposal.
	Pin ref.Reference
	// Entry is the author's text with the digest, if tagpin made the pin. It has the tag even if Pin
	// does not.
	Entry ref.Reference
	// Err is the error of the lookup. It has one of the classes of package resolve.
	Err error
	// Cached and Stale are those of the lookup's resolve.Result.
	Cached, Stale bool
}

// Pin decides about each reference and resolves those that need a lookup. Lookups run side by side,
// one for each image and pull identity. If no reference needs a lookup, Pin sends no request. It
// returns when all lookups have ended, and they end with ctx.
func (p *Pinner) Pin(ctx context.Context, req Request) Result {
	_, s := span.Start(ctx, "decide")
	decisions, skip := p.decide(req)
	s.Number("tagpin.references", len(decisions))
	s.End()
	if skip != "" {
		return Result{Skipped: skip}
	}
	siblings := p.siblings(ctx, req, decisions)
	outcomes := make([]Outcome, len(decisions))
	var jobs lookups
	for i, d := range decisions {
		outcomes[i].Decision = d
		running := siblings.Digests[d.Parsed.Text()]
		switch {
		case d.Action == policy.Restore:
			outcomes[i].Pin, outcomes[i].Entry = d.Held, d.Parsed.WithDigest(d.Held.Digest())
		case d.Reason == policy.TooLong:
			outcomes[i].Err = resolve.Invalid(d.Err)
		case d.Action == policy.Resolve && d.Reason == policy.Kept:
			p.pin(&outcomes[i], d.Held.Digest())
		case d.Action == policy.Resolve && running != "":
			outcomes[i].Reason = policy.Sibling
			p.pin(&outcomes[i], running)
		case d.Action == policy.Resolve && siblings.State == SiblingsUnknown:
			outcomes[i].Err = errSiblings
			if ctx.Err() != nil {
				outcomes[i].Err = resolve.Late(ctx, d.Parsed)
			}
		case d.Action == policy.Resolve:
			jobs.add(d, req.Object.PodSpecs[d.PodSpec].Identity, i)
		}
	}
	jobs.run(ctx, p, req, siblings.State == FirstPod)
	for _, job := range jobs.all {
		for _, i := range job.outcomes {
			o := &outcomes[i]
			o.Cached, o.Stale, o.Err = job.result.Cached, job.result.Stale, job.err
			if job.err == nil {
				p.pin(o, p.record(req, o.Parsed.Text(), job.result.Digest))
			}
		}
	}
	return Result{Outcomes: outcomes}
}

// decide returns the policy's decisions, adjusted for the mode.
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

// propose changes the decisions of an update in the mode DryRun. A reference that did not change is
// resolved too if it would be resolved in a new object, so that the proposals are complete.
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
	return slices.ContainsFunc(decisions, func(d policy.Decision) bool {
		return d.Action == policy.Resolve
	})
}

// pin sets the pin and the entry of an outcome.
func (p *Pinner) pin(o *Outcome, d digest.Digest) {
	o.Entry = o.Parsed.WithDigest(d)
	o.Pin = o.Entry
	if p.Policy.Output == policy.DigestOnly {
		o.Pin = o.Entry.WithoutTag()
	}
}
