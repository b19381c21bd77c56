// SPDX-License-Identifier: Apache-2.0

package annotation

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/tagpin/tagpin/pkg/workload"
)

// maxMarker is the greatest length of a marker that is recorded as it is, in bytes. Of a longer one
// the hash is recorded.
const maxMarker = 128

// Markers are the values of the annotations that ask for a refresh, as they are recorded. Empty
// values are left out.
type Markers map[string]string

// OwnRefresh is the name in Markers of the object's own AnnotationRefresh, beside that of a pod
// template. A CRD may prune the metadata of its templates, so for kinds beyond the built-in ones
// the object's own counts too, for all of its templates.
const OwnRefresh = "object/" + workload.AnnotationRefresh

// marker returns the value of an annotation as it is recorded.
func marker(value string) string {
	if len(value) <= maxMarker {
		return value
	}
	sum := sha256.Sum256([]byte(value))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// markersOf returns the markers of a pod spec of an object, of those that names lists. own is that
// of the object itself.
func markersOf(o *workload.Object, spec *workload.PodSpec, own string, names []string) Markers {
	m := Markers{}
	for _, name := range names {
		value := own
		if name != OwnRefresh || spec.Metadata.Pointer == o.Metadata.Pointer {
			value = marker(spec.Metadata.Annotations[name])
		}
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// recordedMarkers returns the markers that a decoded annotation has under a prefix, of those that
// names lists.
func recordedMarkers(annotation map[string]string, prefix string, names []string) Markers {
	m := Markers{}
	for _, name := range names {
		if value := annotation[prefix+name]; value != "" {
			m[name] = value
		}
	}
	return m
}
