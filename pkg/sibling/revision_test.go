// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The controllers of the pods in TestRevisions.
var (
	replicaSet            = workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "u"}
	replicationController = workload.Owner{APIVersion: "v1", Kind: "ReplicationController", UID: "u"}
	rayCluster            = workload.Owner{APIVersion: "ray.io/v1", Kind: "RayCluster", UID: "u"}
)

// ownedPod returns the JSON of a pod that runs r:1 with a digest.
func ownedPod(owner workload.Owner, labels map[string]string, d digest.Digest) string {
	return fmt.Sprintf(`{"metadata":{"name":"a","creationTimestamp":"2026-01-01T00:00:00Z",`+
		`"labels":{%s},`+
		`"ownerReferences":[{"apiVersion":%q,"kind":%q,"uid":%q,"controller":true}]},`+
		`"spec":{"containers":[{"name":"app","image":"r:1@%s"}]}}`,
		labelsJSON(labels), owner.APIVersion, owner.Kind, owner.UID, d)
}

func labelsJSON(labels map[string]string) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		list = append(list, fmt.Sprintf("%q:%q", name, labels[name]))
	}
	return strings.Join(list, ",")
}

// TestRevisions checks, for pods of several kinds of controllers, which label is listed and whether
// a sibling is found. The sibling runs d1.
func TestRevisions(t *testing.T) {
	for _, tt := range []struct {
		name       string
		configured []string
		owner      workload.Owner
		labels     map[string]string // of both pods
		sibling    map[string]string // of the sibling, if not nil
		listed     string            // the label of the list; "*" for all pods of the namespace
		want       digest.Digest
	}{
		{
			name: "ReplicaSet of a Rollout", owner: replicaSet,
			labels: map[string]string{"rollouts-pod-template-hash": "h"},
			listed: "rollouts-pod-template-hash", want: d1,
		},
		{
			name: "ReplicaSet without an owner", owner: replicaSet,
			labels: map[string]string{"app": "a"}, listed: "*", want: d1,
		},
		{name: "ReplicationController", owner: replicationController, listed: "*", want: d1},
		{
			name: "ReplicationController with a configured label", owner: replicationController,
			configured: []string{"deployment"}, labels: map[string]string{"deployment": "a-1"},
			listed: "deployment", want: d1,
		},
		{
			name: "sibling of a ReplicaSet with a changed label", owner: replicaSet,
			sibling: map[string]string{"pod-template-hash": "other"}, listed: "*", want: d1,
		},
		{
			name: "other owner with a configured label", owner: rayCluster,
			configured: []string{"other", "ray.io/cluster"},
			labels:     map[string]string{"ray.io/cluster": "a"},
			listed:     "ray.io/cluster", want: d1,
		},
		{
			name: "other value of a configured label", owner: rayCluster,
			configured: []string{"ray.io/cluster"}, labels: map[string]string{"ray.io/cluster": "a"},
			sibling: map[string]string{"ray.io/cluster": "b"}, listed: "ray.io/cluster",
		},
		{
			name: "built-in label before a configured one", owner: rayCluster, configured: []string{"app"},
			labels: map[string]string{"app": "a", "controller-revision-hash": "h"},
			listed: "controller-revision-hash", want: d1,
		},
		{
			name: "other owner without a known label", owner: rayCluster,
			labels: map[string]string{"ray.io/cluster": "a"},
		},
		{
			name:   "ReplicaSet of another API group",
			owner:  workload.Owner{APIVersion: "example.com/v1", Kind: "ReplicaSet", UID: "u"},
			labels: map[string]string{"app": "a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := tt.owner
			other.UID = "other"
			siblingLabels := tt.labels
			if tt.sibling != nil {
				siblingLabels = tt.sibling
			}
			p := &fakeLister{label: tt.listed, all: tt.listed == "*", json: []string{
				ownedPod(other, siblingLabels, d2), ownedPod(tt.owner, siblingLabels, d1),
			}}
			s := newSiblings(t, p)
			s.RevisionLabels = tt.configured
			table := workload.Table{Labels: tt.configured}
			pod, err := table.Scan(workload.Kind{Kind: "Pod"}, []byte(ownedPod(tt.owner, tt.labels, d2)))
			if err != nil {
				t.Fatal(err)
			}
			r, ok := sibling.RevisionOf("n", pod, tt.configured)
			if ok != (tt.listed != "") {
				t.Errorf("RevisionOf = %v, %t, want one: %t", r, ok, tt.listed != "")
			}
			if !ok {
				return
			}
			got := s.Running(t.Context(), r, []string{"r:1"}, true)
			if got.Digests["r:1"] != tt.want || got.Err != nil || p.lists == 0 {
				t.Errorf("Running = %+v with %d lists, want r:1 to be %q", got, p.lists, tt.want)
			}
		})
	}
}
