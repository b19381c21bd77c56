// SPDX-License-Identifier: Apache-2.0

package cluster

// Feature is a part of Kubernetes' API that older versions lack or have switched off. An API server
// drops the fields of a part that it lacks, or refuses them.
type Feature int

// The features that tests use.
const (
	ImageVolumes            Feature = iota // volumes[].image
	PodResources                           // resources of a whole pod
	MutatingAdmissionPolicy                // version v1
	EmptyDirMode                           // emptyDir.mode, which is newer than most client libraries
)

// String returns the name of the feature in the plural.
func (f Feature) String() string { name, _ := f.about(); return name }

// Since returns the first minor version of Kubernetes that has the feature switched on, by default
// or, for EmptyDirMode, by [Start].
func (f Feature) Since() int { _, minor := f.about(); return minor }

func (f Feature) about() (name string, since int) {
	switch f {
	case ImageVolumes:
		return "image volumes", 35
	case PodResources:
		return "resources of pods", 34
	case MutatingAdmissionPolicy:
		return "MutatingAdmissionPolicies", 36
	case EmptyDirMode:
		return "modes of emptyDir volumes", 37
	default:
		panic("cluster: unknown feature")
	}
}

// Has reports whether the cluster's version of Kubernetes has a feature.
func (c *Cluster) Has(f Feature) bool { return c.Kubernetes.Minor >= f.Since() }
