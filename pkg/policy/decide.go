// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Decide applies rules 1 to 6, and the part of rule 8 that needs no registry. It parses each
// reference and reads each annotation of both objects once.
func (p *Policy) Decide(in Input) Plan {
	if skip := p.skips(in, in.Operation); skip != "" {
		return Plan{Skipped: skip}
	}
	if in.Operation != Update {
		in.Old = nil
	}
	markers := p.markers(in.Object)
	plan := Plan{PodSpecs: annotation.ReadBoth(in.Object, in.Old, markers)}
	refreshes := false
	for i := range plan.PodSpecs {
		s := &plan.PodSpecs[i]
		marker := changedMarker(in, s, markers)
		refreshes = refreshes || marker != ""
		plan.Decisions = slices.Grow(plan.Decisions, len(s.Images))
		for _, image := range s.Images {
			d := Decision{Image: image, PodSpec: i, Field: s.Spec.ImageFields()}
			p.decide(in.Object.Kind, &d)
			if marker != "" && in.Mode == Enforce {
				p.refresh(&d, marker)
			}
			plan.Decisions = append(plan.Decisions, d)
		}
		s.Images = nil
	}
	p.shareDigests(plan.Decisions)
	switch in.Mode {
	case Enforce:
	case Propose:
		p.propose(in, plan.Decisions, refreshes)
	case Keep:
		for i := range plan.Decisions {
			if d := &plan.Decisions[i]; d.Action == Resolve {
				d.Action, d.Reason, d.Held = Leave, NoNewPins, ref.Reference{}
			}
		}
	}
	return plan
}

// skips applies rule 1, and returns the reason to skip the object, or "".
//
// Only the old object says whether an object is being deleted: the API server drops a
// deletionTimestamp that a request brings. A mirror pod is skipped only when a node creates it: a
// node never changes its images later, and anybody else may write the annotation.
func (p *Policy) skips(in Input, operation Operation) Reason {
	m, kind := &in.Object.Metadata, in.Object.Kind
	owner := m.Controller
	switch {
	case operation == Update && in.Old != nil && in.Old.Metadata.Deleting:
		return Deleting
	case kind.IsPod() && operation == Create && in.Node &&
		m.Annotations[workload.AnnotationMirror] != "":
		return Mirror
	case operation == Create && p.skipsOwner(owner, in.User):
		return SkipOwned
	case owner.IsZero() || kind.IsPod():
		return ""
	case kind.IsJob() && owner.GroupKind().IsCronJob():
		return ""
	}
	return Controlled
}

func (p *Policy) skipsOwner(o workload.Owner, user string) bool {
	return !o.IsZero() &&
		slices.ContainsFunc(p.SkipOwners, func(s SkipOwner) bool { return s.Match(o, user) })
}

// decide applies rules 3 to 6 to one image.
func (p *Policy) decide(kind workload.Kind, d *Decision) {
	old := d.Old
	switch {
	case old != nil && old.Reference.Text == d.Reference.Text:
		d.Reason = Unchanged
		if d.Parsed.Pinned() {
			d.Held = d.Parsed
		}
	case d.Parsed.Pinned():
		d.Reason, d.Held = Pinned, d.Parsed
		// If tagpin has an entry for the new pin, an undo has brought it back: no tag was edited.
		if old != nil && d.Entry != d.Parsed {
			d.Before = p.textOfOtherTag(old, d.Parsed)
		}
	case old != nil && old.Parsed.Pinned() && !d.Parsed.IsZero() && p.madeFor(old) == d.Parsed.Text():
		d.Action, d.Reason, d.Held = Restore, Sticky, old.Parsed
	default:
		p.decideNew(kind, d)
	}
}

// decideNew applies rule 6 to an image without a digest. An image to which it does not apply is to
// be resolved (rule 8).
func (p *Policy) decideNew(kind workload.Kind, d *Decision) {
	switch {
	case d.Reference.Never:
		d.Reason = NeverPull
	case d.ParseErr == ref.ErrBlank: //nolint:errorlint // Parse does not wrap it
		d.Reason, d.ParseErr = Blank, nil
	case errors.Is(d.ParseErr, ref.ErrTooLong) && !d.Field:
		d.Action, d.Reason = Resolve, TooLong
	case d.ParseErr != nil:
		d.Reason = Invalid
	case p.leaves(d.Parsed) && p.unreplaced(kind, d.Parsed):
		d.Reason = Unreplaced
	case p.Exempts(kind, d.Parsed):
		d.Reason = Exempt
	case p.leaves(d.Parsed):
		d.Reason = ShortName
	default:
		d.Action, d.Reason = Resolve, Tag
	}
}

// leaves reports whether the config leaves r alone.
func (p *Policy) leaves(r ref.Reference) bool {
	return p.LeaveShortNames && r.Short() || p.exempts(r)
}

// Exempts reports whether Policy.Exempt leaves r alone in an object of a kind. A pattern of exactly
// workload.Placeholder does so in pod templates alone.
func (p *Policy) Exempts(kind workload.Kind, r ref.Reference) bool {
	return p.exempts(r) && !p.unreplaced(kind, r)
}

func (p *Policy) exempts(r ref.Reference) bool {
	return slices.ContainsFunc(p.Exempt, func(e Pattern) bool { return e.Match(r) })
}

// CheckName returns an error if r has neither a digest nor a registry host, and LeaveShortNames is
// true: what Docker Hub has under the name may be another image than the cluster pulls.
func (p *Policy) CheckName(r ref.Reference) error {
	if !p.LeaveShortNames || !r.Short() || r.Pinned() {
		return nil
	}
	return fmt.Errorf("%s names no registry host, and the config says shortNames: leave; "+
		"write %s/%s if it is on Docker Hub", r, r.Host(), r)
}

// unreplaced reports whether r, which is left alone, is a placeholder in a Pod that no injector has
// replaced. An exemption of exactly the placeholder is meant for pod templates. In a Pod, the
// kubelet would pull the name from Docker Hub or a mirror of it, from a repository that nobody in
// the cluster has chosen.
func (p *Policy) unreplaced(kind workload.Kind, r ref.Reference) bool {
	if !kind.IsPod() || r.Canonical() != workload.Placeholder {
		return false
	}
	return !slices.ContainsFunc(p.Exempt, func(e Pattern) bool {
		return e.Match(r) && e != workload.Placeholder
	})
}

// propose changes the decisions in the mode Propose, if anything is to be resolved or refreshed. A
// reference that did not change is resolved too if it would be resolved in a new object, so that
// the proposals are complete. An object that would be skipped on creation gets no proposals.
func (p *Policy) propose(in Input, decisions []Decision, refreshes bool) {
	resolves := slices.ContainsFunc(decisions, func(d Decision) bool { return d.Action == Resolve })
	if !resolves && !refreshes || p.skips(in, Create) != "" {
		return
	}
	for i := range decisions {
		d := &decisions[i]
		if d.Reason != Unchanged || d.Parsed.Pinned() {
			continue
		}
		created := *d
		if p.decideNew(in.Object.Kind, &created); created.Action == Resolve {
			*d = created
		}
	}
}
