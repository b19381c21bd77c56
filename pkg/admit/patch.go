// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/workload"
)

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// patch collects changes: images at their exact paths, and annotations by the metadata that they stand in.
type patch struct {
	operations  []operation
	annotations []*annotations
}

// annotations are the changes to one metadata's annotations.
type annotations struct {
	metadata *workload.Metadata
	set      map[string]string
	remove   []string
}

// replace puts text where a reference stands.
func (p *patch) replace(pointer, text string) {
	p.operations = append(p.operations, operation{Op: "replace", Path: pointer, Value: text})
}

// annotate brings an annotation to value, where it is not so already; empty removes it.
func (p *patch) annotate(m *workload.Metadata, key, value string) {
	current, present := m.Annotations[key]
	switch {
	case value == "" && present:
		a := p.of(m)
		a.remove = append(a.remove, key)
	case value != "" && value != current:
		p.of(m).set[key] = value
	}
}

// size is how many bytes a metadata's annotations will have when this one has the value too.
func (p *patch) size(m *workload.Metadata, key, value string) int {
	size, planned := m.Size, p.of(m)
	for k, v := range planned.set {
		if k != key {
			size += cost(k, v) - cost(k, m.Annotations[k])
		}
	}
	for _, k := range planned.remove {
		size -= cost(k, m.Annotations[k])
	}
	return size + cost(key, value) - cost(key, m.Annotations[key])
}

// cost is what an annotation has of the bytes that there may be.
func cost(key, value string) int {
	if value == "" {
		return 0
	}
	return len(key) + len(value)
}

func (p *patch) of(m *workload.Metadata) *annotations {
	for _, a := range p.annotations {
		if a.metadata.Pointer == m.Pointer {
			return a
		}
	}
	a := &annotations{metadata: m, set: map[string]string{}}
	p.annotations = append(p.annotations, a)
	return a
}

// encode is the patch as JSON, or nil where nothing changes.
func (p *patch) encode() ([]byte, error) {
	ops := p.operations
	for _, a := range p.annotations {
		ops = a.appendTo(ops)
	}
	if len(ops) == 0 {
		return nil, nil
	}
	return json.Marshal(ops)
}

// appendTo adds the operations: where the annotations map or the metadata itself is missing, it is made with all of them.
func (a *annotations) appendTo(ops []operation) []operation {
	m := a.metadata
	for _, key := range a.remove {
		ops = append(ops, operation{Op: "remove", Path: m.Pointer + "/annotations/" + escape(key)})
	}
	switch {
	case len(a.set) == 0:
	case !m.Present:
		ops = append(ops, operation{Op: "add", Path: m.Pointer, Value: map[string]any{"annotations": a.set}})
	case !m.HasAnnotations:
		ops = append(ops, operation{Op: "add", Path: m.Pointer + "/annotations", Value: a.set})
	default:
		for _, key := range slices.Sorted(maps.Keys(a.set)) {
			ops = append(ops, operation{Op: "add", Path: m.Pointer + "/annotations/" + escape(key), Value: a.set[key]})
		}
	}
	return ops
}

// escape makes a name a part of a JSON pointer (RFC 6901, section 3).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}
