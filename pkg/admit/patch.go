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
func annotationOperations(c *annotation.Change) []operation {
	m := c.Metadata
	annotations := jsontext.Pointer(m.Pointer + "/annotations")
	switch {
	case len(c.Values) == 0:
		return nil
	case !m.Present:
		value := map[string]any{"annotations": c.Values}
		return []operation{{Op: "add", Path: m.Pointer, Value: value}}
	case !m.HasAnnotations:
		return []operation{{Op: "add", Path: string(annotations), Value: c.Values}}
	}
	var operations []operation
	for _, key := range slices.Sorted(maps.Keys(c.Values)) {
		o := operation{Op: "add", Path: string(annotations.AppendToken(key)), Value: c.Values[key]}
		if c.Values[key] == "" {
			o.Op, o.Value = "remove", nil
		}
		operations = append(operations, o)
	}
	return operations
}
