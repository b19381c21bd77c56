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

// MarkerNames returns the annotations that ask for a refresh of an object, in order of precedence.
func MarkerNames(o *workload.Object) []string {
	own := []string{workload.AnnotationRefresh, workload.AnnotationRestartedAt}
	return append(own, o.RefreshAnnotations...)
}

// markersOf returns the markers of a pod spec. A CRD may prune the metadata of its templates, so
// for kinds beyond the built-in ones AnnotationRefresh counts in the object's own metadata too, for
// all of its templates.
func markersOf(o *workload.Object, spec *workload.PodSpec) Markers {
	m := Markers{}
	for _, name := range MarkerNames(o) {
		value := spec.Metadata.Annotations[name]
		if name == workload.AnnotationRefresh && o.Custom {
			if own := o.Metadata.Annotations[name]; own != "" {
				value = own
			}
		}
		if len(value) > maxMarker {
			sum := sha256.Sum256([]byte(value))
			value = "sha256:" + hex.EncodeToString(sum[:])
		}
		if value != "" {
			m[name] = value
		}
	}
	return m
}

// recordedMarkers returns the markers that a decoded annotation has under a prefix.
func recordedMarkers(o *workload.Object, annotation map[string]string, prefix string) Markers {
	m := Markers{}
	for _, name := range MarkerNames(o) {
		if value := annotation[prefix+name]; value != "" {
			m[name] = value
		}
	}
	return m
}
