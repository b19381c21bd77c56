// SPDX-License-Identifier: Apache-2.0

// Package policy says which references of an object are to be pinned, and why not the others.
//
// It holds the rules in their order: an object that is not ours; then for each reference refreshed, unchanged, pinned by
// its author, sticky, left alone; what is left is to be resolved. It looks at an object and at what the object was before,
// asks no registry and changes nothing.
package policy

import (
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Policy is what the rules can be told. The zero value pins every tag and keeps it in the text.
type Policy struct {
	// Output is how a pin is written. Default: the author's text and the digest.
	Output Output
	// Exempt are images to leave alone, by canonical name. Default: none.
	Exempt []Pattern
	// SkipOwners are controllers whose pods are left alone on creation, because they compare image texts. Default: none.
	SkipOwners []SkipOwner
	// IgnoreRestart makes kubectl rollout restart no refresh. Default: it is one.
	IgnoreRestart bool
}

// Operation is what a request does with the object.
type Operation string

// The operations that can bring a new reference.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
)

// Input is one object, and what the rules need to know of its request.
type Input struct {
	Operation Operation
	User      string           // who asks, by the API server's word
	Node      bool             // the user is a node: of the group system:nodes
	Object    *workload.Object // as it is to be
	Old       *workload.Object // as it was; nil on Create
	Hold      bool             // no refresh, whatever the markers say
}

// Action is what becomes of a reference.
type Action int

// The actions.
const (
	Leave   Action = iota // as it is
	Restore               // the pin that it had before is put back
	Resolve               // its tag is looked up, or takes the digest of Held where Reason is Kept
)

// Reason is why an action was chosen, as a word for logs and metrics: the set is closed.
type Reason string

// The reasons.
const (
	Unchanged  Reason = "unchanged"   // the text is as it was
	Pinned     Reason = "author"      // its author wrote a digest
	Sticky     Reason = "sticky"      // it was pinned, and its text has not changed
	NeverPull  Reason = "never-pull"  // the kubelet pulls nothing for it
	Blank      Reason = "blank"       // no text
	Invalid    Reason = "bad-text"    // the kubelet refuses the text
	Exempt     Reason = "exempt"      // by config
	Unreplaced Reason = "placeholder" // workload.Placeholder in a Pod, which is denied
	Tag        Reason = "tag"         // a tag to look up
	Refresh    Reason = "refresh"     // the same, since a marker has changed
	Kept       Reason = "kept"        // the same text is pinned elsewhere in the object
	Sibling    Reason = "sibling"     // its controller's other pods of the revision run a digest for it
	KeepOnly   Reason = "keep"        // a tag, in a mode that makes no pins
	Deleting   Reason = "deleting"    // whole objects from here on: being deleted
	Mirror     Reason = "mirror"      // the API server's copy of a static pod
	Controlled Reason = "controlled"  // a controller made it and compares it with its own template
	SkipOwned  Reason = "skip-owners" // by config
)

// Decision is what becomes of one reference.
type Decision struct {
	PodSpec   int                // index in Object.PodSpecs
	Reference workload.Reference // in its place
	Parsed    ref.Reference      // zero where Reason is Blank or Invalid
	Err       error              // why the text is refused, where Reason is Invalid
	Action    Action
	Reason    Reason
	// Held is, for Restore, the pin to put back; for Leave with Pinned or Unchanged, and Resolve with Kept, the pin whose
	// digest holds; for Resolve with Refresh the pin to keep if the look-up fails, if any.
	Held ref.Reference
	// Marker is, for Resolve with Refresh, the annotation that asked for it. If several did, it is
	// AnnotationRefresh, which is the stricter one about a look-up that fails.
	Marker string
	// Before is, for Leave with Pinned, the text that this digest stood for before the request, if
	// its author has changed the tag beside the digest and not the digest. Both tags may name one
	// image: nobody has looked.
	Before ref.Reference
}

// Decide applies the rules. Where skip is not empty the object is not ours, and there are no decisions.
func (p *Policy) Decide(in Input) (decisions []Decision, skip Reason) {
	if skip := p.notOurs(in); skip != "" {
		return nil, skip
	}
	told := read(in)
	before := make([]*history, len(in.Object.PodSpecs))
	for i := range in.Object.PodSpecs {
		before[i] = told.history(in, i, p.Output)
		marker := ""
		if !in.Hold {
			marker = p.refreshMarker(in, &told, i)
		}
		for _, r := range in.Object.PodSpecs[i].References {
			d := p.decide(r, before[i])
			if d.Reason == Exempt && p.unreplaced(in.Object.Kind, d.Parsed) {
				d.Reason = Unreplaced
			}
			d.PodSpec = i
			if d.Reason == Pinned && told.now[i].Entries[r.Name] != d.Parsed { // else an undo to tagpin's
				d.Before = before[i].retagged(r.Name, d.Parsed)
			}
			if marker != "" {
				p.renew(&d, before[i], told.now[i].Entries, marker)
			}
			decisions = append(decisions, d)
		}
	}
	keep(decisions, before)
	return decisions, ""
}

// notOurs is rule 1. Anybody who may create a pod may forge its owner, so an owner exempts no pod:
// only a template that its controller would compare with its own, and make anew for ever, is left.
//
// Only the old object tells whether an object is being deleted: the API server drops a
// deletionTimestamp that a request brings. A mirror pod is exempt only when a node creates it: a
// node never changes its images later, and anybody else may write the annotation.
func (p *Policy) notOurs(in Input) Reason {
	m, kind := &in.Object.Metadata, in.Object.Kind
	isPod := kind == workload.Kind{Kind: "Pod"}
	switch {
	case in.Operation == Update && in.Old != nil && in.Old.Metadata.Deleting:
		return Deleting
	case isPod && in.Operation == Create && in.Node && m.Annotations[workload.AnnotationMirror] != "":
		return Mirror
	case in.Operation == Create && p.skipsOwner(m.Controller, in.User):
		return SkipOwned
	case m.Controller.IsZero() || isPod:
		return ""
	case kind == workload.Kind{Group: "batch", Kind: "Job"} && m.Controller.Kind == "CronJob" && m.Controller.Group() == "batch":
		return ""
	}
	return Controlled
}

// decide is rules 3 to 6 for one reference.
func (p *Policy) decide(r workload.Reference, before *history) Decision {
	d := Decision{Reference: r}
	d.Parsed, d.Err = ref.Parse(r.Text)
	old, existed := before.text(r.Name)
	switch {
	case existed && old == r.Text:
		d.Reason, d.Held = Unchanged, pinned(d.Parsed)
	case d.Parsed.Pinned():
		d.Reason, d.Held = Pinned, d.Parsed
	case before.sticks(&d):
		d.Action, d.Reason = Restore, Sticky
	case r.Never:
		d.Reason = NeverPull
	case d.Err == ref.ErrBlank: //nolint:errorlint // Parse gives it bare
		d.Reason, d.Err = Blank, nil
	case d.Err != nil:
		d.Reason = Invalid
	case p.exempts(d.Parsed):
		d.Reason = Exempt
	default:
		d.Action, d.Reason = Resolve, Tag
	}
	return d
}

func (p *Policy) exempts(r ref.Reference) bool {
	for _, e := range p.Exempt {
		if e.Match(r) {
			return true
		}
	}
	return false
}

func (p *Policy) skipsOwner(o workload.Owner, user string) bool {
	if o.IsZero() {
		return false
	}
	for _, s := range p.SkipOwners {
		if s.Match(o, user) {
			return true
		}
	}
	return false
}

// pinned is r where it has a digest, else zero.
func pinned(r ref.Reference) ref.Reference {
	if r.Pinned() {
		return r
	}
	return ref.Reference{}
}
