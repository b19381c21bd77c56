// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/annotation"
)

// operation is one operation of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// encodePatch returns the JSON patch with some operations and changes of annotations. If there are
// none, it returns nil.
func encodePatch(operations []operation, changes []*annotation.Change) ([]byte, error) {
	for _, c := range changes {
		operations = append(operations, annotationOperations(c)...)
	}
	if len(operations) == 0 {
		return nil, nil
	}
	return json.Marshal(operations)
}

// annotationOperations returns the operations for the annotations of one metadata. If the
// annotations or the metadata itself are missing, they are added as a whole.
func annotationOperations(c *annotation.Change) (operations []operation) {
	m := c.Metadata
	path := func(key string) string { return m.Pointer + "/annotations/" + escape(key) }
	for _, key := range c.Remove {
		operations = append(operations, operation{Op: "remove", Path: path(key)})
	}
	if len(c.Set) == 0 {
		return operations
	}
	add := func(path string, value any) {
		operations = append(operations, operation{Op: "add", Path: path, Value: value})
	}
	switch {
	case !m.Present:
		add(m.Pointer, map[string]any{"annotations": c.Set})
	case !m.HasAnnotations:
		add(m.Pointer+"/annotations", c.Set)
	default:
		for _, key := range slices.Sorted(maps.Keys(c.Set)) {
			add(path(key), c.Set[key])
		}
	}
	return operations
}

// escape makes a name a part of a JSON pointer (RFC 6901, section 3).
func escape(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }
