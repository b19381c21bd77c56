// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxMarker is the greatest length of a marker that is recorded as it is, in bytes. Of a longer one
// the hash is recorded.
const maxMarker = 128

// markers are the annotations that ask for a refresh. If several have changed, the first counts.
var markers = [...]string{workload.AnnotationRefresh, workload.AnnotationRestartedAt}

// Markers are the values of the annotations that ask for a refresh, as they are recorded. Empty
// values are left out.
type Markers map[string]string

// ReadMarkers returns the markers of pod spec i. A CRD may prune the metadata of its templates, so
// for kinds beyond the built-in ones AnnotationRefresh counts in the object's own metadata too, for
// all of its templates.
func (p *Policy) ReadMarkers(o *workload.Object, i int) Markers {
	spec := &o.PodSpecs[i]
	m := Markers{}
	m.add(workload.AnnotationRefresh, spec.Metadata.Annotations)
	if !spec.Annotated {
		m.add(workload.AnnotationRefresh, o.Metadata.Annotations)
	}
	if !p.IgnoreRestart {
		m.add(workload.AnnotationRestartedAt, spec.Metadata.Annotations)
	}
	return m
}

func (m Markers) add(marker string, annotations map[string]string) {
	value := annotations[marker]
	if len(value) > maxMarker {
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	if value != "" {
		m[marker] = value
	}
}

// recordedMarkers returns the markers that the pins of pod spec i were resolved for, according to
// the decoded annotation. It returns nil if there is no annotation.
func recordedMarkers(o *workload.Object, i int, annotation map[string]string) Markers {
	if annotation == nil {
		return nil
	}
	m := Markers{}
	for _, marker := range markers {
		if value := annotation[EntryKey(o, i, marker)]; value != "" {
			m[marker] = value
		}
	}
	return m
}

// Refreshes reports whether the request asks for a refresh of any pod spec.
func (p *Policy) Refreshes(in Input) bool {
	records := readRecords(in)
	for i := range in.Object.PodSpecs {
		if p.changedMarker(in, &records, i) != "" {
			return true
		}
	}
	return false
}

// changedMarker tests the condition of rule 2. It returns the marker of pod spec i that asks for a
// refresh, or "" if none does: its value differs both from the old object's and from the recorded
// one.
//
// The record is for kubectl rollout undo, which brings back a revision's marker and record
// together. If the record is in the object's own metadata, an undo brings back the template alone.
// The record is then about other pins, and is ignored.
func (p *Policy) changedMarker(in Input, records *bothRecords, i int) string {
	kind := in.Object.Kind
	if kind == podKind || kind == jobKind || in.Operation != Update {
		return ""
	}
	j, now := records.oldIndex[i], p.ReadMarkers(in.Object, i)
	if j < 0 || len(now) == 0 {
		return ""
	}
	old, recorded := p.ReadMarkers(in.Old, j), records.now[i].Record
	if !in.Object.PodSpecs[i].Annotated && records.old[j].Outdated {
		recorded = nil
	}
	for _, marker := range markers {
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
// old is what the pod spec held before, entries are the pins that tagpin made, and marker is the
// annotation that asks for the refresh.
func (p *Policy) refresh(d *Decision, old *oldSpec, entries Entries, marker string) {
	parsed := d.Parsed
	if parsed.Pinned() {
		entry, ok := entries[d.Reference.Name]
		oldText, _ := old.text(d.Reference.Name)
		if !ok || oldText != d.Reference.Text || !p.wrote(parsed, entry) {
			return // the author wrote the digest, or an undo has brought back a revision's own
		}
		var err error
		if parsed, err = ref.Parse(entry.Text()); err != nil {
			return // a name of 64 hexadecimal digits is only valid with a digest
		}
	}
	if d.Reference.Never || parsed.IsZero() || p.exempts(parsed) {
		return
	}
	if d.Action != Restore { // for Restore, Held is the old pin already
		d.Held = pinned(d.Parsed)
	}
	d.Parsed, d.Action, d.Reason, d.Marker = parsed, Resolve, Refresh, marker
}

// wrote reports whether tagpin can have written the pin that a container holds, given an entry with
// the same digest. Any other spelling is the author's: a text without the tag, for example, unless
// the output drops tags. If it does, a pin that still has the tag is from before the output was
// changed.
func (p *Policy) wrote(held, entry ref.Reference) bool {
	return held == entry || p.Output == DigestOnly && held == entry.WithoutTag()
}
