// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// TemplatesChanged tells for each pod spec whether the pod template around it differs between two objects in more than
// image references and tagpin's own annotations. It decodes both objects once: it is for requests that a person waits
// for, not for every one.
func TemplatesChanged(before, after []byte, specs []PodSpec) []bool {
	var old, now any
	if json.Unmarshal(before, &old) != nil || json.Unmarshal(after, &now) != nil {
		return make([]bool, len(specs))
	}
	changed := make([]bool, len(specs))
	for i := range specs {
		changed[i] = !reflect.DeepEqual(template(old, &specs[i]), template(now, &specs[i]))
	}
	return changed
}

// template is the pod template around spec, without what does not count.
func template(root any, spec *PodSpec) any {
	t := at(root, strings.TrimSuffix(spec.Pointer, "/spec"))
	if metadata, ok := at(t, "/metadata").(map[string]any); ok {
		delete(metadata, "creationTimestamp")
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			delete(annotations, AnnotationPins)
			delete(annotations, AnnotationRefreshed)
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
