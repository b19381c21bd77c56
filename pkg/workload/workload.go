// SPDX-License-Identifier: Apache-2.0

// Package workload finds the image references and the pull identities in a Kubernetes object.
//
// It scans the JSON of an object in one pass. The object is not decoded into typed structs, so
// fields that this package does not know are harmless. The result has the references with their
// JSON pointers (RFC 6901), and the metadata that decides whether they are pinned. A Table has the
// paths to the pod templates of each kind. Kinds that are not built in can be added to it, also
// with images outside of pod templates.
//
//	kind                                                          pod spec at
//	Pod                                                           spec
//	Deployment, ReplicaSet, StatefulSet, DaemonSet, Job,
//	ReplicationController                                         spec.template.spec
//	CronJob                                                       spec.jobTemplate.spec.template.spec
//	PodTemplate                                                   template.spec
//
// The references in a pod spec are containers[*].image, initContainers[*].image,
// ephemeralContainers[*].image and volumes[*].image.reference.
//
// This package does not decide which references to pin. Package policy does.
package workload

import "slices"

// Annotations and labels that tagpin reads or writes.
const (
	// AnnotationPins lists the pins that tagpin made. It is in the metadata beside the pod spec. Its
	// value is a JSON object that maps the name of a container, or volume/<name>, to text@digest.
	AnnotationPins = "tagpin.dev/pins"
	// AnnotationProposedPins lists the pins that dry-run mode would have made. It is in the object's
	// own metadata.
	AnnotationProposedPins = "tagpin.dev/proposed-pins"
	// AnnotationRefresh is a marker. When its value changes, tagpin resolves the pins that it made
	// again.
	AnnotationRefresh = "tagpin.dev/refresh"
	// AnnotationRefreshed records the values of the markers when the pins were resolved.
	AnnotationRefreshed = "tagpin.dev/refreshed"
	// AnnotationRestartedAt is another marker. kubectl rollout restart sets it.
	AnnotationRestartedAt = "kubectl.kubernetes.io/restartedAt"
	// AnnotationMirror marks the API server's copy of a static pod.
	AnnotationMirror = "kubernetes.io/config.mirror"
)

// knownAnnotations are the annotations that Scan keeps, beside Table.RefreshAnnotations.
var knownAnnotations = []string{
	AnnotationPins, AnnotationProposedPins, AnnotationRefresh, AnnotationRefreshed,
	AnnotationRestartedAt, AnnotationMirror,
}

// Placeholder is the canonical name of the image "auto", which pod templates for Istio's injector
// contain. The injector replaces it with the real image in each Pod, before tagpin is called for
// that Pod.
const Placeholder = "docker.io/library/auto:latest"

// Labels that the pods of one revision of a controller have in common.
const (
	LabelControllerRevisionHash  = "controller-revision-hash"           // StatefulSets, DaemonSets
	LabelPodTemplateHash         = "pod-template-hash"                  // ReplicaSets of Deployments
	LabelRolloutsPodTemplateHash = "rollouts-pod-template-hash"         // ReplicaSets of Argo Rollouts
	LabelControllerUID           = "batch.kubernetes.io/controller-uid" // Jobs
)

// revisionLabels are the labels that tell revisions apart, in order of precedence.
var revisionLabels = [...]string{
	LabelControllerRevisionHash, LabelPodTemplateHash, LabelRolloutsPodTemplateHash,
	LabelControllerUID,
}

// RevisionLabels returns the labels that tell the revisions of a controller apart, in order of
// precedence. Scan keeps them, beside those of Table.Labels.
func RevisionLabels() [4]string { return revisionLabels }

// Object is the result of scanning an object.
type Object struct {
	Kind     Kind
	Metadata Metadata
	// PodSpecs are the object's pod specs, in document order. The built-in kinds have one. The images
	// of a custom kind that are outside of pod templates are the last one, with an empty Key.
	PodSpecs []PodSpec
	// RefreshAnnotations are those of the Table.
	RefreshAnnotations []string
	// Custom reports whether the kind was added to the built-in ones.
	Custom bool
	// Several reports whether the kind can have several pod specs. It is only true for custom kinds.
	Several bool
}

// Records returns the metadata that has tagpin's annotations about the pod specs: the metadata
// beside the only pod spec or, because a CRD may prune that of its pod templates, the metadata of a
// custom object. It is empty if o is nil.
func (o *Object) Records() *Metadata {
	switch {
	case o == nil:
		return new(Metadata)
	case o.Custom || len(o.PodSpecs) == 0:
		return &o.Metadata
	}
	return &o.PodSpecs[0].Metadata
}

// Metadata has those fields of an ObjectMeta that tagpin uses.
type Metadata struct {
	Pointer        string // JSON pointer of the metadata, also if it is missing
	Present        bool   // the metadata is an object, and neither missing nor null
	HasAnnotations bool   // its annotations are an object, and neither missing nor null
	Name           string
	Namespace      string // the namespace in the object; decisions use that of the request
	Created        string // creationTimestamp: RFC 3339 in UTC, to the second
	Deleting       bool   // deletionTimestamp is set
	Size           int    // size in bytes of the names and values of all annotations
	Controller     Owner  // the owner reference with controller=true; zero if there is none
	// Labels has the labels of the Label… constants and of Table.Labels. Others are left out.
	Labels map[string]string
	// Annotations has the annotations of the Annotation… constants and of Table.RefreshAnnotations.
	// Others are left out.
	Annotations map[string]string
}

// Owner is the owner reference of a controller.
type Owner struct{ APIVersion, Kind, UID string }

// IsZero reports whether there is no controller.
func (o Owner) IsZero() bool { return o == Owner{} }

// GroupKind returns the kind of the owner.
func (o Owner) GroupKind() Kind { return KindOf(o.APIVersion, o.Kind) }

// PodSpec is one pod spec of an object.
type PodSpec struct {
	// Key identifies the pod spec within the object. It is the JSON pointer of the pod spec, such as
	// /spec/template/spec, with the names of list elements in place of their indices if they have
	// names. It is empty for image fields.
	Key string
	// Metadata is the metadata beside the pod spec: the pod template's, or a Pod's own. It is empty
	// for image fields.
	Metadata Metadata
	// Hash is a hash of the pod template without its image references, its creation timestamp, and the
	// annotations in which tagpin records its pins. Hashes of two objects can be compared within one
	// process, because an API server always writes the fields of an object in the same order. It is 0
	// for a Pod, which has no template. For image fields, it is a hash of the object without them, its
	// pod templates, its metadata and its status.
	Hash     uint64
	Identity Identity
	// OtherAccounts is only set for image fields. It is true if an element of a list that leads to an
	// image field names a service account of its own, as a template of Argo Workflows does.
	OtherAccounts bool
	References    []Reference // in document order
}

// ImageFields reports whether the references are those of image fields, and not of a pod spec.
func (p *PodSpec) ImageFields() bool { return p.Key == "" }

// GuessesIdentity reports whether Identity may not be the one that pods with the image fields will
// have: the object names none, or several. Then a registry's "not found" may mean "not allowed",
// because some registries don't tell them apart.
func (p *PodSpec) GuessesIdentity() bool {
	return p.ImageFields() && (p.OtherAccounts || p.Identity.Equal(Identity{}))
}

// Identity names the credentials with which the kubelet would pull the images of a pod. It has no
// namespace, because that of the request is used, and not that of the object.
type Identity struct {
	// ServiceAccount is the name of the service account. If empty, it is "default".
	ServiceAccount string
	// PullSecrets are the names of the pull secrets in order, without blank ones. There are at most
	// MaxPullSecrets+1 names. If empty, the pull secrets of the service account are used.
	PullSecrets []string
}

// Equal reports whether both identities name the same service account and pull secrets.
func (id Identity) Equal(other Identity) bool {
	return id.ServiceAccount == other.ServiceAccount && slices.Equal(id.PullSecrets, other.PullSecrets)
}

// Reference is an image reference in a pod spec, or outside of pod templates.
type Reference struct {
	// Name is the name of the container, or volume/ and the name of the volume. Outside of pod
	// templates it is the JSON pointer, such as /spec/steps/build/image, with the names of list
	// elements in place of their indices if they have names.
	Name string
	// Pointer is the JSON pointer of the text, such as /spec/template/spec/containers/0/image. It is
	// empty if the field is missing or is not a string, so that it can't be replaced.
	Pointer   string
	Text      string // empty if the field is missing; Scan shortens texts over ref.MaxLength
	Never     bool   // the imagePullPolicy of the container, or pullPolicy of the volume, is Never
	Ephemeral bool   // the reference is in an ephemeral container
}
