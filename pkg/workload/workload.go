// SPDX-License-Identifier: Apache-2.0

// Package workload knows where image references and pull identities sit in a Kubernetes object.
//
// An object is scanned as the JSON that was received, in one pass, and never decoded into typed structs: whatever newer
// fields it has stay untouched. What comes out are the references with their JSON pointers (RFC 6901), and the little
// metadata that decides about them. One table (Table) holds all places; kinds beyond the built-in ones are added to it.
//
//	kind                                                          pod spec at
//	Pod                                                           spec
//	Deployment, ReplicaSet, StatefulSet, DaemonSet, Job,
//	ReplicationController                                         spec.template.spec
//	CronJob                                                       spec.jobTemplate.spec.template.spec
//	PodTemplate                                                   template.spec
//
// In a pod spec: containers[*].image, initContainers[*].image, ephemeralContainers[*].image and
// volumes[*].image.reference.
//
// The package decides nothing: which references to pin is package policy's.
package workload

import "slices"

// Annotations and labels that tagpin reads or writes.
const (
	// AnnotationPins, in the metadata beside the pod spec: JSON object, container (or volume/<name>) to text@digest, for
	// the pins that tagpin made.
	AnnotationPins = "tagpin.dev/pins"
	// AnnotationProposedPins, in the object's own metadata, is what dry-run mode would have pinned.
	AnnotationProposedPins = "tagpin.dev/proposed-pins"
	// AnnotationRefresh is a marker: when it changes, the pins that tagpin made are resolved anew.
	AnnotationRefresh = "tagpin.dev/refresh"
	// AnnotationRefreshed records the markers that the current pins were resolved for.
	AnnotationRefreshed = "tagpin.dev/refreshed"
	// AnnotationRestartedAt is set by kubectl rollout restart.
	AnnotationRestartedAt = "kubectl.kubernetes.io/restartedAt"
	// AnnotationMirror marks the API server's copy of a static pod.
	AnnotationMirror = "kubernetes.io/config.mirror"
)

// Placeholder is the image, by its canonical name, that Istio's pod templates have where they hold
// "auto". Istio's injector puts the real image into each Pod, before tagpin is called for it.
const Placeholder = "docker.io/library/auto:latest"

// Labels by which the pods of one revision of their controller know each other.
const (
	LabelControllerRevisionHash  = "controller-revision-hash"           // StatefulSets, DaemonSets
	LabelPodTemplateHash         = "pod-template-hash"                  // ReplicaSets of Deployments
	LabelRolloutsPodTemplateHash = "rollouts-pod-template-hash"         // ReplicaSets of Argo Rollouts
	LabelControllerUID           = "batch.kubernetes.io/controller-uid" // Jobs
)

// Kind names a kind of object without its version: versions of one kind share their places.
type Kind struct{ Group, Kind string }

// Object is what a scan finds in an object.
type Object struct {
	Kind     Kind
	Version  string // of the apiVersion, as the object spells it
	Metadata Metadata
	PodSpecs []PodSpec // one for the built-in kinds; any number for kinds of a list of templates; in document order
}

// Metadata is the part of an ObjectMeta that decides something.
type Metadata struct {
	Pointer        string // JSON pointer of the metadata object, whether it is there or not
	Present        bool   // the metadata object is there (and not null)
	HasAnnotations bool   // its annotations map is there (and not null)
	Name           string
	GenerateName   string
	Namespace      string            // as the object says; the request's is what counts
	Created        string            // creationTimestamp: RFC 3339 in UTC, to the second
	Deleting       bool              // deletionTimestamp is set
	Size           int               // bytes of all annotations, their names and values
	Controller     Owner             // the owner reference with controller=true; zero if none
	Labels         map[string]string // the Label… ones and the Table's alone
	Annotations    map[string]string // the Annotation… ones alone
}

// Owner is a controlling owner reference.
type Owner struct{ APIVersion, Kind, Name, UID string }

// IsRevision reports whether each object of the owner's kind is one revision by itself, so that all
// of its pods are meant to be alike: a ReplicaSet or a ReplicationController.
func (o Owner) IsRevision() bool {
	switch (Kind{o.Group(), o.Kind}) {
	case Kind{"apps", "ReplicaSet"}, Kind{"", "ReplicationController"}:
		return true
	}
	return false
}

// IsZero tells that there is no controlling owner.
func (o Owner) IsZero() bool { return o == Owner{} }

// Group is the API group of the owner's apiVersion; empty for the core group.
func (o Owner) Group() string {
	group, _ := splitAPIVersion(o.APIVersion)
	return group
}

// PodSpec is one pod spec of an object.
type PodSpec struct {
	Pointer    string   // JSON pointer of the pod spec: /spec/template/spec
	Key        string   // the same with the names of list elements, where they have one, in place of their indices
	Metadata   Metadata // beside the pod spec: the template's, or for a Pod its own
	Annotated  bool     // tagpin's annotations stand in Metadata; where not, in the object's own (a CRD may prune a template's)
	Shared     bool     // where not Annotated: its kind has several pod specs or may come to have them, and one annotation for all
	Identity   Identity
	References []Reference // in document order
}

// Identity is what the kubelet would pull with, but for the namespace: that is the request's, never the object's.
type Identity struct {
	ServiceAccount string // empty: default
	// PullSecrets are names, in order, blank ones dropped, at most MaxPullSecrets and one more.
	// Empty: the service account's.
	PullSecrets []string
}

// Equal tells whether both would pull with the same.
func (id Identity) Equal(other Identity) bool {
	return id.ServiceAccount == other.ServiceAccount && slices.Equal(id.PullSecrets, other.PullSecrets)
}

// Reference is an image reference in its place.
type Reference struct {
	Name    string // the container's name, or volume/<volume's name>
	Pointer string // JSON pointer of the string: /spec/template/spec/containers/0/image
	Text    string // as it stands there, if not too long; empty where the field is missing or blank
	Missing bool   // the field itself is missing: there is nothing to replace
	Never   bool   // imagePullPolicy (or the volume's pullPolicy) is Never
	// Ephemeral is true in an ephemeral container.
	Ephemeral bool
}

// splitAPIVersion splits apps/v1 into apps and v1, and v1 into "" and v1.
func splitAPIVersion(s string) (group, version string) {
	for i := range len(s) {
		if s[i] == '/' {
			return s[:i], s[i+1:]
		}
	}
	return "", s
}
