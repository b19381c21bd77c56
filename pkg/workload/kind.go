// SPDX-License-Identifier: Apache-2.0

package workload

import "strings"

// Kind identifies a kind of objects. It has no version, because pod templates are at the same paths
// in all versions of a kind.
type Kind struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
}

// KindOf returns the kind of an object by its fields apiVersion and kind.
func KindOf(apiVersion, kind string) Kind {
	group, _, found := strings.Cut(apiVersion, "/")
	if !found {
		group = "" // the core group
	}
	return Kind{group, kind}
}

// IsPod reports whether k is the kind of pods.
func (k Kind) IsPod() bool { return k == Kind{"", "Pod"} }

// IsJob reports whether k is the kind of Jobs.
func (k Kind) IsJob() bool { return k == Kind{"batch", "Job"} }

// IsCronJob reports whether k is the kind of CronJobs.
func (k Kind) IsCronJob() bool { return k == Kind{"batch", "CronJob"} }

// IsRevision reports whether one object of the kind stands for one revision, so that all of its
// pods are meant to be alike. This is true for a ReplicaSet and for a ReplicationController.
func (k Kind) IsRevision() bool {
	return k == Kind{"apps", "ReplicaSet"} || k == Kind{"", "ReplicationController"}
}

// String returns "Kind.group", or "Kind" for the core group.
func (k Kind) String() string {
	if k.Group == "" {
		return k.Kind
	}
	return k.Kind + "." + k.Group
}
