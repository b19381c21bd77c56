// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"time"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// changedMarker tests the condition of rule 2. It returns the marker of a pod spec that asks for a
// refresh, or "" if none does: its value differs both from the old object's and from the recorded
// one.
//
// The record is for kubectl rollout undo, which brings back a revision's marker and record
// together. If the record is in the object's own metadata, an undo brings back the template alone.
// The record is then about other pins, and is ignored.
func (p *Policy) changedMarker(in Input, s *annotation.PodSpec) string {
	if p.IgnoreRestart {
		delete(s.Markers, workload.AnnotationRestartedAt)
	}
	kind := in.Object.Kind
	if kind.IsPod() || kind.IsJob() || s.Old == nil {
		return ""
	}
	recorded := s.Recorded
	if in.Object.Custom && s.Old.Outdated {
		recorded = nil
	}
	for _, marker := range annotation.MarkerNames(in.Object) {
		value, old := s.Markers[marker], s.Old.Markers[marker]
		if value == "" || value == old || value == recorded[marker] {
			continue
		}
		if marker != workload.AnnotationRefresh && older(value, old) {
			continue
		}
		return marker
	}
	return ""
}

// older reports whether a restart was made before another one. It is false if one of them is not a
// time. Only an undo brings back an older restart without a record of it: one that was made in keep
// mode, for example.
func older(restartedAt, than string) bool {
	a, err := time.Parse(time.RFC3339, restartedAt)
	if err != nil {
		return false
	}
	b, err := time.Parse(time.RFC3339, than)
	return err == nil && a.Before(b)
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
	if d.Reference.Never || parsed.IsZero() || p.exempts(parsed) {
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
