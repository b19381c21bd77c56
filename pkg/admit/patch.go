// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

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
func encodePatch(operations []operation, changes []*annotation.Change) []byte {
	for _, c := range changes {
		operations = append(operations, annotationOperations(c)...)
	}
	if len(operations) == 0 {
		return nil
	}
	patch, _ := json.Marshal(operations) // strings, and maps of strings, can always be encoded
	return patch
}

// annotationOperations returns the operations for the annotations of one metadata. If the
// annotations or the metadata itself are missing, they are added as a whole.
func annotationOperations(c *annotation.Change) (operations []operation) {
	m := c.Metadata
	annotations := jsontext.Pointer(m.Pointer + "/annotations")
	path := func(key string) string { return string(annotations.AppendToken(key)) }
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
		add(string(annotations), c.Set)
	default:
		for _, key := range slices.Sorted(maps.Keys(c.Set)) {
			add(path(key), c.Set[key])
		}
	}
	return operations
}
