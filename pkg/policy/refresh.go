// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"maps"
	"time"

	"github.com/tagpin/tagpin/pkg/annotation"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// markers returns the markers of a pod spec that count.
func (p *Policy) markers(s *annotation.PodSpec) annotation.Markers {
	if !p.IgnoreRestart {
		return s.Markers
	}
	counted := maps.Clone(s.Markers)
	delete(counted, workload.AnnotationRestartedAt)
	return counted
}

// changedMarker tests the condition of rule 2. It returns the marker of a pod spec that asks for a
// refresh, or "" if none does: its value differs both from the old object's and from the recorded
// one.
//
// The record is for kubectl rollout undo, which brings back a revision's marker and record
// together. If the record is in the object's own metadata, an undo brings back the template alone.
// The record is then about other pins, and is ignored.
func (p *Policy) changedMarker(in Input, s *podSpec) string {
	kind := in.Object.Kind
	if kind == podKind || kind == jobKind || s.before == nil {
		return ""
	}
	now, old, recorded := p.markers(&s.PodSpec), p.markers(s.before), s.Recorded
	if s.Metadata == &in.Object.Metadata && s.before.Outdated {
		recorded = nil
	}
	for _, marker := range annotation.MarkerNames {
		value := now[marker]
		if value == "" || value == old[marker] || value == recorded[marker] {
			continue
		}
		if marker == workload.AnnotationRestartedAt && older(value, old[marker]) {
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
// old is the image of the same container or volume in the old object, or nil, and marker is the
// annotation that asks for the refresh.
func (p *Policy) refresh(d *Decision, old *annotation.Image, marker string) {
	parsed := d.Parsed
	if parsed.Pinned() {
		if old == nil || old.Reference.Text != d.Reference.Text || !p.wrote(parsed, d.Entry) {
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
// the same digest, or zero. Any other spelling is the author's: a text without the tag, for example,
// unless the output drops tags. If it does, a pin that still has the tag is from before the output
// was changed.
func (p *Policy) wrote(held, entry ref.Reference) bool {
	return held == entry || p.Output == DigestOnly && held == entry.WithoutTag()
}
