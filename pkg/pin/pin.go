// SPDX-License-Identifier: Apache-2.0

// Package pin turns the references of an object into pins.
//
//	references → plan (package policy) → distinct lookups → digests (package resolve) → outcomes
//
// The webhook and the command-line tool use it. It doesn't know JSON patches or YAML. If a lookup
// fails, the caller decides what that means for the object.
package pin

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/span"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Pinner pins the references of objects. It is safe for concurrent use.
type Pinner struct {
	Policy   policy.Policy
	Resolver resolve.Resolver
	// Layer returns a Resolver around next for one object. It is for answers that depend on the whole
	// object: it is called once, before the lookups, with the references of all of them. If nil, there
	// is no such layer.
	Layer func(
		ctx context.Context, next resolve.Resolver, req Request, lookups []ref.Reference,
	) resolve.Resolver
	// AllAtOnce is true if all lookups of an object run at the same time, instead of at most 16. It is
	// for objects that no tenant has made, so that no image waits for another one's registry.
	AllAtOnce bool
	// Helpers bounds the helpers: goroutines that look up further images of an object while its own
	// goroutine looks up one. HelperRoom makes it, and senders and namespaces share it. An object
	// without helpers has its images looked up one after another. If nil, there is no bound.
	Helpers *fair.Room
	// Patience bounds how long controllers wait for lookups. If nil, they wait as long as others.
	Patience *Patience
	// Panics reports panics that occur in lookups. A panic fails the references that share the lookup.
	// If nil, panics are not reported.
	Panics *panics.Reporter
}

// Request is one object to pin.
type Request struct {
	policy.Input

	// Namespace is the namespace of the request. It has the pull secrets, and each namespace has its
	// own share of a registry's capacity.
	Namespace string
	// Sender is the address that the request came from.
	Sender string
	// DryRun is true if the API server stores nothing, whatever the mode.
	DryRun bool
	// Keychain returns the credentials of a pull identity in the namespace. If nil, registries are
	// asked anonymously.
	Keychain func(workload.Identity) keychain.Keychain
}

// Stored reports whether the API server will store the pins of the request, if it accepts it.
func (r *Request) Stored() bool { return r.Mode == policy.Enforce && !r.DryRun }

// Result is the result for an object.
type Result struct {
	// Skipped is the reason why the object is left alone (rule 1, see package policy), or "". If it is
	// set, there is nothing else.
	Skipped policy.Reason
	// PodSpecs are those of the plan, without their images, which are in Outcomes.
	PodSpecs []annotation.PodSpec
	// Outcomes has one outcome for each reference, in document order.
	Outcomes []Outcome
	// Impatient is true if lookups failed because of Pinner.Patience. The controller tries again if
	// the object is denied.
	Impatient bool
}

// Outcome is the result for one reference.
type Outcome struct {
	policy.Decision
	resolve.Result // of the lookup, if there was one

	// Pin is the pin for the field, or zero if the field stays as it is. It may equal the text that
	// the field has already. With the mode Propose and the action Resolve it is only a proposal.
	Pin ref.Reference
	// NewEntry is the entry to record for Pin, if it is no proposal: the author's text with the
	// digest. It has the tag even if Pin does not.
	NewEntry ref.Reference
	// HeldEntry is the entry to record if the lookup failed and Held stays or is put back instead. It
	// is zero if there is no such pin.
	HeldEntry ref.Reference
	// Err is the error of the lookup. It has a class of package failure.
	Err error
}

// Pin decides about each reference and resolves those that need a lookup, one for each image and
// pull identity. At most 16 lookups run at a time, or all of them if AllAtOnce, and fewer if there
// is no room for Helpers. Those for a controller's object run one after another at first, because
// most are answered from memory. If no reference needs a lookup, Pin sends no request. It returns
// when all lookups have ended, and they end with ctx.
func (p *Pinner) Pin(ctx context.Context, req Request) Result {
	_, s := span.Start(ctx, "decide")
	plan := p.Policy.Decide(req.Input)
	s.Number("tagpin.references", len(plan.Decisions))
	s.End()
	outcomes := make([]Outcome, len(plan.Decisions))
	var needed lookups
	for i, d := range plan.Decisions {
		o := &outcomes[i]
		o.Decision = d
		switch {
		case d.Action == policy.Restore:
			o.Pin, o.NewEntry = d.Held, d.Parsed.WithDigest(d.Held.Digest())
		case d.Reason == policy.TooLong:
			o.Err = failure.New(failure.Invalid, d.ParseErr)
		case d.Action == policy.Resolve && d.Reason == policy.SameText:
			p.pin(o, req.Mode, d.Held.Digest())
		case d.Action == policy.Resolve:
			needed.add(req.Object, d.PodSpec, d.Parsed, i)
		}
	}
	impatient := needed.run(ctx, p, req)
	for _, one := range needed.all {
		for _, i := range one.outcomes {
			o := &outcomes[i]
			o.Result, o.Err = one.result, one.err
			switch {
			case one.err == nil:
				p.pin(o, req.Mode, one.result.Digest)
			case o.Held.Pinned():
				o.HeldEntry = o.Parsed.WithDigest(o.Held.Digest())
			}
		}
	}
	return Result{
		Skipped: plan.Skipped, PodSpecs: plan.PodSpecs, Outcomes: outcomes, Impatient: impatient,
	}
}

// pin sets the pin and the entry of an outcome.
func (p *Pinner) pin(o *Outcome, mode policy.Mode, d digest.Digest) {
	entry := o.Parsed.WithDigest(d)
	o.Pin = entry
	if p.Policy.Output == policy.DigestOnly {
		o.Pin = entry.WithoutTag()
	}
	if mode != policy.Propose {
		o.NewEntry = entry
	}
}
