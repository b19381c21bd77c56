// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// markers returns the annotations that ask for a refresh of an object, in order of precedence.
func (p *Policy) markers(o *workload.Object) []string {
	names := []string{workload.AnnotationRefresh}
	if o.Custom {
		names = append(names, annotation.OwnRefresh)
	}
	if !p.IgnoreRestart {
		names = append(names, workload.AnnotationRestartedAt)
	}
	return append(names, o.RefreshAnnotations...)
}

// changedMarker tests the condition of rule 2. It returns the annotation of a pod spec that asks
// for a refresh, or "" if none does: its value differs both from the old object's and from the
// recorded one. markers are the annotations that can ask for one.
//
// The record is for kubectl rollout undo, which brings back a revision's marker and record
// together. If the record is in the object's own metadata, an undo brings back the template alone.
// The record is then about other pins, and is ignored.
func changedMarker(in Input, s *annotation.PodSpec, markers []string) string {
	kind := in.Object.Kind
	if kind.IsPod() || kind.IsJob() || s.Old == nil {
		return ""
	}
	recorded := s.Recorded
	if in.Object.Custom && s.Old.Outdated {
		recorded = nil
	}
	for _, marker := range markers {
		value, old := s.Markers[marker], s.Old.Markers[marker]
		switch {
		case value == "" || value == old || value == recorded[marker]:
		case marker == workload.AnnotationRefresh || marker == annotation.OwnRefresh:
			return workload.AnnotationRefresh
		case !older(value, old):
			return marker
		}
	}
	return ""
}

// refresh applies rule 2 to one reference, after the other rules were applied to it. A pin that
// tagpin made and a reference without a digest are resolved again, unless rule 6 leaves them alone.
// marker is the annotation that asks for the refresh.
func (p *Policy) refresh(d *Decision, marker string) {
	parsed := d.Parsed
	if parsed.Pinned() {
		if d.Old == nil || d.Old.Reference.Text != d.Reference.Text || !p.wrote(parsed, d.Entry) {
			return // the author wrote the digest, or an undo has brought back a revision's own
		}
		var err error
		if parsed, err = ref.Parse(d.Entry.Text()); err != nil {
			return // a name of 64 hexadecimal digits is only valid with a digest
		}
	}
	if d.Reference.Never || parsed.IsZero() || p.leaves(parsed) {
		return
	}
	if d.Action != Restore && d.Parsed.Pinned() { // for Restore, Held is the old pin already
		d.Held = d.Parsed
	}
	d.Parsed, d.Action, d.Reason, d.Marker = parsed, Resolve, Refresh, marker
}

// wrote reports whether tagpin can have written the pin that a container holds, given an entry with
// the same digest, or zero. Any other spelling is the author's: a text without the tag, for
// example, unless the output drops tags. If it does, a pin that still has the tag is from before
// the output was changed.
func (p *Policy) wrote(held, entry ref.Reference) bool {
	return held == entry || p.Output == DigestOnly && held == entry.WithoutTag()
}
