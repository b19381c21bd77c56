// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// TemplateChanged tells whether the pod template around spec differs between two objects in more than image references
// and tagpin's own annotations. It decodes both: it is for requests that a person waits for, not for every one.
func TemplateChanged(before, after []byte, spec PodSpec) bool {
	pointer := strings.TrimSuffix(spec.Pointer, "/spec")
	return !reflect.DeepEqual(template(before, pointer, spec), template(after, pointer, spec))
}

// template is the value at pointer without what does not count.
func template(raw []byte, pointer string, spec PodSpec) any {
	var root any
	if json.Unmarshal(raw, &root) != nil {
		return nil
	}
	t := at(root, pointer)
	if metadata, ok := at(t, "/metadata").(map[string]any); ok {
		delete(metadata, "creationTimestamp")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, AnnotationPins)
			if len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
	}
	for _, r := range spec.References {
		parent, field := r.Pointer[:strings.LastIndexByte(r.Pointer, '/')+1], r.Pointer[strings.LastIndexByte(r.Pointer, '/')+1:]
		if m, ok := at(root, strings.TrimSuffix(parent, "/")).(map[string]any); ok {
			delete(m, field)
		}
	}
	return t
}

// at follows a JSON pointer (RFC 6901); nil where it leads nowhere.
func at(value any, pointer string) any {
	if pointer == "" {
		return value
	}
	for _, step := range strings.Split(pointer[1:], "/") {
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch v := value.(type) {
		case map[string]any:
			value = v[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}
