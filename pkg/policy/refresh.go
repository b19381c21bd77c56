// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/workload"
)

// maxRecorded is the longest value of a marker that is recorded as it is; of longer ones the hash is.
const maxRecorded = 128

// Markers are the values of the annotations that ask for a refresh, without empty ones, as they are recorded.
type Markers map[string]string

// ReadMarkers reads the markers beside a pod spec. A CRD may prune the metadata of its templates, so that for other than
// the built-in kinds AnnotationRefresh is read in the object's own too, where it is for all its templates.
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
	if len(value) > maxRecorded {
		sum := sha256.Sum256([]byte(value))
		value = "sha256:" + hex.EncodeToString(sum[:])
	}
	if value != "" {
		m[marker] = value
	}
}

// readRecord reads the markers that the pins of a pod spec were resolved for.
func readRecord(o *workload.Object, i int, recorded map[string]string) Markers {
	if recorded == nil {
		return nil
	}
	m := Markers{}
	for _, marker := range []string{workload.AnnotationRefresh, workload.AnnotationRestartedAt} {
		if value := recorded[EntryKey(o, i, marker)]; value != "" {
			m[marker] = value
		}
	}
	return m
}

// Refreshes tells whether the request asks for any pod spec to be refreshed.
func (p *Policy) Refreshes(in Input) bool {
	r := read(in)
	for i := range in.Object.PodSpecs {
		if p.refreshMarker(in, &r, i) != "" {
			return true
		}
	}
	return false
}

// refreshMarker is the condition of rule 2: it returns a marker of pod spec i that is another than
// before, and not the one that is recorded beside it, or "". If several are, it returns
// AnnotationRefresh.
//
// The record is for kubectl rollout undo, which brings back a revision's marker and record
// together: the revision's own digest is to run. Where the record stands in the object's own
// metadata, an undo brings the template alone; the record is then of other pins, and counts no
// more.
func (p *Policy) refreshMarker(in Input, r *reading, i int) string {
	kind := in.Object.Kind
	if kind == (workload.Kind{Kind: "Pod"}) || kind == (workload.Kind{Group: "batch", Kind: "Job"}) || in.Operation != Update {
		return ""
	}
	j, now := r.before[i], p.ReadMarkers(in.Object, i)
	if j < 0 || len(now) == 0 {
		return ""
	}
	before, recorded := p.ReadMarkers(in.Old, j), r.now[i].Record
	if !in.Object.PodSpecs[i].Annotated && r.old[j].Other {
		recorded = nil
	}
	for _, marker := range []string{workload.AnnotationRefresh, workload.AnnotationRestartedAt} {
		value := now[marker]
		if value == "" || value == before[marker] || value == recorded[marker] {
			continue
		}
		if marker == workload.AnnotationRestartedAt && older(value, before[marker]) {
			continue
		}
		return marker
	}
	return ""
}

// older reports whether a restart was made before another one. Only an undo brings back an older
// restart: one that was made while tagpin kept no record of it, in keep mode for example. It is
// false if one of them is not a time.
func older(restartedAt, than string) bool {
	a, err := time.Parse(time.RFC3339, restartedAt)
	if err != nil {
		return false
	}
	b, err := time.Parse(time.RFC3339, than)
	return err == nil && a.Before(b)
}

// renew is rule 2 for one reference: a pin that tagpin made, and a reference without a pin, is
// resolved anew, unless it would be left alone. before is what the pod spec held, ours are the pins
// that tagpin made, marker is the annotation that asked.
func (p *Policy) renew(d *Decision, before *history, ours Entries, marker string) {
	text := d.Parsed
	if text.Pinned() {
		entry, ok := ours[d.Reference.Name]
		stood, _ := before.text(d.Reference.Name)
		if !ok || stood != d.Reference.Text || !p.wrote(text, entry) {
			return // its author's, or a revision's own, which an undo brings back
		}
		var err error
		if text, err = ref.Parse(entry.Text()); err != nil {
			return // a name of 64 hexadecimal digits is one with a digest behind it alone
		}
	}
	if d.Reference.Never || text.IsZero() || p.exempts(text) {
		return
	}
	if d.Action != Restore { // which holds the pin that stood there
		d.Held = pinned(d.Parsed)
	}
	d.Parsed, d.Action, d.Reason, d.Marker = text, Resolve, Refresh, marker
}

// wrote reports whether tagpin can have written the pin that a container holds, for an entry with
// the same digest. Another spelling is its author's: a text without the tag, for example, unless
// tags are dropped. Where they are, the entry itself is a pin from before they were.
func (p *Policy) wrote(held, entry ref.Reference) bool {
	return held == entry || p.Output == DigestOnly && held == entry.WithoutTag()
}
