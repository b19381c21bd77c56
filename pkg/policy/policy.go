// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"slices"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The built-in kinds that some rules treat differently.
var (
	podKind = workload.Kind{Kind: "Pod"}
	jobKind = workload.Kind{Group: "batch", Kind: "Job"}
)

// Policy holds the settings of the rules. The zero value pins every tag and keeps it in the text.
type Policy struct {
	// Output is how a pin is written. Default: the author's text and the digest.
	Output Output
	// Exempt are images to leave alone, by canonical name. Default: none.
	Exempt []Pattern
	// SkipOwners are controllers whose objects are left alone on creation, because they compare
	// the image texts of their pods. Default: none.
	SkipOwners []SkipOwner
	// IgnoreRestart makes kubectl rollout restart keep the pins. By default it refreshes them.
	IgnoreRestart bool
}

// Operation is what a request does with the object.
type Operation string

// The operations that can bring a new reference.
const (
	Create Operation = "CREATE"
	Update Operation = "UPDATE"
)

// Input is one object, and what the rules need to know about the request.
type Input struct {
	Operation Operation
	User      string           // the name of the user, as the API server authenticated it
	Node      bool             // the user is a node: a member of the group system:nodes
	Object    *workload.Object // the new object
	Old       *workload.Object // the object that is replaced; nil on Create
	Hold      bool             // never refresh (rule 2), whatever the markers say
}

// Action says what to do with a reference.
type Action int

// The actions.
const (
	Leave   Action = iota // leave it as it is
	Restore               // put the old pin back
	Resolve               // look its tag up or, if Reason is Kept, take the digest of Held
)

// Reason is why an action was chosen, as a word for logs and metrics. The set is closed.
type Reason string

// The reasons about one reference.
const (
	Unchanged  Reason = "unchanged"   // the text is the old one
	Pinned     Reason = "author"      // its author wrote a digest
	Sticky     Reason = "sticky"      // the text is the one that the old pin was made for
	NeverPull  Reason = "never-pull"  // the kubelet does not pull it
	Blank      Reason = "blank"       // there is no text
	Invalid    Reason = "bad-text"    // the kubelet refuses the text
	TooLong    Reason = "too-long"    // the text is too long to be looked up: the lookup fails
	Exempt     Reason = "exempt"      // the config exempts it
	Unreplaced Reason = "placeholder" // workload.Placeholder in a Pod, which package admit denies
	Tag        Reason = "tag"         // a tag to look up
	Refresh    Reason = "refresh"     // a tag to look up, because a marker has changed
	Kept       Reason = "kept"        // the same text is pinned elsewhere in the object
	Sibling    Reason = "sibling"     // other pods of the same revision run a digest for the text
	KeepOnly   Reason = "keep"        // a tag, in the mode that makes no pins
)

// The reasons to skip a whole object.
const (
	Deleting   Reason = "deleting"    // it is being deleted
	Mirror     Reason = "mirror"      // it is the API server's copy of a static pod
	Controlled Reason = "controlled"  // its controller compares it with a template of its own
	SkipOwned  Reason = "skip-owners" // the config's skipOwners names its owner and the user
)

// Decision is what to do with one reference.
type Decision struct {
	PodSpec   int                // index in Object.PodSpecs
	Reference workload.Reference // as it stands in the object
	Parsed    ref.Reference      // zero if Reason is Blank, Invalid or TooLong
	Err       error              // why the text is refused, if Reason is Invalid or TooLong
	Action    Action
	Reason    Reason
	// Held is a pin, if there is one:
	//   - for Restore, the old pin, which is to be put back;
	//   - for Leave with Pinned or Unchanged, the pin that stays;
	//   - for Resolve with Kept, the pin whose digest is to be taken;
	//   - for Resolve with Refresh, the pin to keep if the lookup fails.
	Held ref.Reference
	// Marker is, for Resolve with Refresh, the annotation that asks for the refresh. If several
	// do, it is AnnotationRefresh: a failed lookup has stricter consequences there.
	Marker string
	// Before is, for Leave with Pinned, the text that the digest stood for in the old object, if
	// the author has changed the tag but not the digest. Both tags may name one image; the
	// registry was not asked.
	Before ref.Reference
}

// Decide applies rules 1 to 6, and the part of rule 8 that needs no registry. If rule 1 skips the
// object, skip says why and there are no decisions. Decisions are in document order.
func (p *Policy) Decide(in Input) (decisions []Decision, skip Reason) {
	if skip := p.skips(in); skip != "" {
		return nil, skip
	}
	records := readRecords(in)
	olds := make([]*oldSpec, len(in.Object.PodSpecs))
	for i := range in.Object.PodSpecs {
		olds[i] = records.oldSpec(in, i, p.Output)
		entries, marker := records.now[i].Entries, ""
		if !in.Hold {
			marker = p.changedMarker(in, &records, i)
		}
		for _, r := range in.Object.PodSpecs[i].References {
			d := p.decide(r, olds[i])
			if d.Reason == Exempt && p.unreplaced(in.Object.Kind, d.Parsed) {
				d.Reason = Unreplaced
			}
			d.PodSpec = i
			// If tagpin has an entry for the new pin, an undo has brought it back: no tag was
			// edited.
			if d.Reason == Pinned && entries[r.Name] != d.Parsed {
				d.Before = olds[i].textOfOtherTag(r.Name, d.Parsed)
			}
			if marker != "" {
				p.refresh(&d, olds[i], entries, marker)
			}
			decisions = append(decisions, d)
		}
	}
	shareDigests(decisions, olds)
	return decisions, ""
}

// skips applies rule 1, and returns the reason to skip the object, or "".
//
// Only the old object says whether an object is being deleted: the API server drops a
// deletionTimestamp that a request brings. A mirror pod is skipped only when a node creates it: a
// node never changes its images later, and anybody else may write the annotation.
func (p *Policy) skips(in Input) Reason {
	m, kind := &in.Object.Metadata, in.Object.Kind
	owner := m.Controller
	switch {
	case in.Operation == Update && in.Old != nil && in.Old.Metadata.Deleting:
		return Deleting
	case kind == podKind && in.Operation == Create && in.Node &&
		m.Annotations[workload.AnnotationMirror] != "":
		return Mirror
	case in.Operation == Create && p.skipsOwner(owner, in.User):
		return SkipOwned
	case owner.IsZero() || kind == podKind:
		return ""
	case kind == jobKind && owner.Kind == "CronJob" && owner.Group() == "batch":
		return ""
	}
	return Controlled
}

// decide applies rules 3 to 6 to one reference. A reference to which none applies is to be resolved
// (rule 8).
func (p *Policy) decide(r workload.Reference, old *oldSpec) Decision {
	d := Decision{Reference: r}
	d.Parsed, d.Err = ref.Parse(r.Text)
	oldText, existed := old.text(r.Name)
	switch {
	case existed && oldText == r.Text:
		d.Reason, d.Held = Unchanged, pinned(d.Parsed)
	case d.Parsed.Pinned():
		d.Reason, d.Held = Pinned, d.Parsed
	case old.restores(&d):
		d.Action, d.Reason = Restore, Sticky
	case r.Never:
		d.Reason = NeverPull
	case d.Err == ref.ErrBlank: //nolint:errorlint // Parse does not wrap it
		d.Reason, d.Err = Blank, nil
	case errors.Is(d.Err, ref.ErrTooLong):
		d.Action, d.Reason = Resolve, TooLong
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
	return slices.ContainsFunc(p.Exempt, func(e Pattern) bool { return e.Match(r) })
}

func (p *Policy) skipsOwner(o workload.Owner, user string) bool {
	return !o.IsZero() &&
		slices.ContainsFunc(p.SkipOwners, func(s SkipOwner) bool { return s.Match(o, user) })
}

// pinned returns r if it has a digest, and otherwise the zero value.
func pinned(r ref.Reference) ref.Reference {
	if r.Pinned() {
		return r
	}
	return ref.Reference{}
}
