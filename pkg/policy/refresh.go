// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

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

// ReadRecord reads the markers that the pins of a pod spec were resolved for. What is no JSON object counts for nothing.
func ReadRecord(o *workload.Object, i int) Markers {
	var recorded map[string]string
	annotation := AnnotationMetadata(o, i).Annotations[workload.AnnotationRefreshed]
	if annotation == "" || json.Unmarshal([]byte(annotation), &recorded) != nil {
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
	for i := range in.Object.PodSpecs {
		if p.refreshes(in, i) {
			return true
		}
	}
	return false
}

// refreshes is the condition of rule 2: a marker is another than before, and not the one that is recorded beside it. The
// second is for kubectl rollout undo, which brings back both: the revision's own digest is to run.
func (p *Policy) refreshes(in Input, i int) bool {
	kind := in.Object.Kind
	if kind == (workload.Kind{Kind: "Pod"}) || kind == (workload.Kind{Group: "batch", Kind: "Job"}) || in.Operation != Update {
		return false
	}
	j, existed := Before(in.Object, i, in.Old)
	now := p.ReadMarkers(in.Object, i)
	if !existed || len(now) == 0 {
		return false
	}
	before, recorded := p.ReadMarkers(in.Old, j), ReadRecord(in.Object, i)
	for marker, value := range now {
		if value != before[marker] && value != recorded[marker] {
			return true
		}
	}
	return false
}

// refresh tells whether a pod spec is refreshed, and then which of its pins may move.
func (p *Policy) refresh(in Input, i int) (movable Entries, refresh bool) {
	if in.Hold || !p.refreshes(in, i) {
		return nil, false
	}
	return ReadEntries(in.Object, i), true
}

// renew is rule 2 for one reference: a pin that tagpin made, and what has none, is resolved anew, unless it would be left
// alone.
func (p *Policy) renew(d *Decision, movable Entries) {
	text := d.Parsed
	if text.Pinned() {
		entry, ok := movable[d.Reference.Name]
		if !ok {
			return // its author's
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
	d.Parsed, d.Action, d.Reason = text, Resolve, Refresh
}
