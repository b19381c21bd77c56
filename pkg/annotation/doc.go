// SPDX-License-Identifier: Apache-2.0

// Package annotation reads and writes the annotations that record what tagpin did. Each is a JSON
// object of texts:
//
//	tagpin.dev/pins           the pins that tagpin made: {"app": "nginx:1.25@sha256:…"}
//	tagpin.dev/refreshed      the markers that they were resolved for: {"tagpin.dev/refresh": "a1b2"}
//	tagpin.dev/proposed-pins  the pins that tagpin would make, in the mode dry-run
//
// The key of a pin is the name of the container, or volume/<name> for an image volume. For an image
// outside of pod templates it is the JSON pointer with the names of list elements in place of their
// indices: /spec/steps/build/image. A pin is recorded with its tag, even if the tag was dropped in
// the pod spec.
//
// The first two annotations are in the metadata beside the pod spec, so that pods inherit them. For
// kinds beyond the built-in ones they are in the object's own metadata, because a CRD may prune
// that of its pod templates. If one metadata can have the annotations of several pod specs, the key
// of the pod spec and a colon precede each key. The third annotation is always in the object's own
// metadata, because a change of a pod template would roll it out.
//
// Anybody may write the annotations. So they only say which of the pins tagpin may replace, and
// never which image to run.
//
// The package also makes the audit annotation of an answer, which has the same form. Package policy
// decides what the records mean. The names of the annotations are in package workload, whose scan
// keeps no others.
package annotation
