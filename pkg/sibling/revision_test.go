// SPDX-License-Identifier: Apache-2.0

package sibling_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/sibling"
	"github.com/tagpin/tagpin/pkg/workload"
)

// Controllers whose pods are tested, as apiVersion and kind.
var (
	replicaSet            = workload.Owner{APIVersion: "apps/v1", Kind: "ReplicaSet", UID: "u"}
	replicationController = workload.Owner{APIVersion: "v1", Kind: "ReplicationController", UID: "u"}
	rayCluster            = workload.Owner{APIVersion: "ray.io/v1", Kind: "RayCluster", UID: "u"}
)

// ownedPod is the JSON of a pod that runs r:1 with a digest.
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

// TestRevisions has a pod of each kind of controller, and a sibling of it that runs d1.
func TestRevisions(t *testing.T) {
	for _, tt := range []struct {
		name       string
		configured []string
		owner      workload.Owner
		labels     map[string]string // of both pods
		sibling    map[string]string // if not nil, of the sibling
		listed     string            // the label that is listed by; * for all pods of the namespace
		want       digest.Digest
	}{
		{
			name: "a ReplicaSet of a Rollout", owner: replicaSet,
			labels: map[string]string{"rollouts-pod-template-hash": "h"},
			listed: "rollouts-pod-template-hash", want: d1,
		},
		{
			name: "a bare ReplicaSet", owner: replicaSet,
			labels: map[string]string{"app": "a"}, listed: "*", want: d1,
		},
		{name: "a ReplicationController", owner: replicationController, listed: "*", want: d1},
		{
			name: "a ReplicationController with a configured label", owner: replicationController,
			configured: []string{"deployment"}, labels: map[string]string{"deployment": "a-1"},
			listed: "deployment", want: d1,
		},
		{
			name: "a label of a ReplicaSet's pod that was changed later", owner: replicaSet,
			sibling: map[string]string{"pod-template-hash": "other"}, listed: "*", want: d1,
		},
		{
			name: "an owner with a configured label", owner: rayCluster,
			configured: []string{"other", "ray.io/cluster"},
			labels:     map[string]string{"ray.io/cluster": "a"},
			listed:     "ray.io/cluster", want: d1,
		},
		{
			name: "another value of a configured label", owner: rayCluster,
			configured: []string{"ray.io/cluster"}, labels: map[string]string{"ray.io/cluster": "a"},
			sibling: map[string]string{"ray.io/cluster": "b"}, listed: "ray.io/cluster",
		},
		{
			name: "a built-in label comes first", owner: rayCluster, configured: []string{"app"},
			labels: map[string]string{"app": "a", "controller-revision-hash": "h"},
			listed: "controller-revision-hash", want: d1,
		},
		{
			name: "an owner without a known label", owner: rayCluster,
			labels: map[string]string{"ray.io/cluster": "a"},
		},
		{
			name:   "a kind of the same name in another group",
			owner:  workload.Owner{APIVersion: "example.com/v1", Kind: "ReplicaSet", UID: "u"},
			labels: map[string]string{"app": "a"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := tt.owner
			other.UID = "other"
			there := tt.labels
			if tt.sibling != nil {
				there = tt.sibling
			}
			p := &pods{label: tt.listed, all: tt.listed == "*", json: []string{
				ownedPod(other, there, d2), ownedPod(tt.owner, there, d1),
			}}
			s := &sibling.Siblings{Lister: p, Policy: &policy.Policy{}, RevisionLabels: tt.configured}
			defer s.Close()
			table := workload.Table{Labels: tt.configured}
			pod, err := table.Scan(workload.Kind{Kind: "Pod"}, []byte(ownedPod(tt.owner, tt.labels, d2)))
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := s.Running(t.Context(), "n", pod, []string{"r:1"}, true)
			if got["r:1"] != tt.want || err != nil {
				t.Errorf("Running = %q, %v, want %q", got["r:1"], err, tt.want)
			}
			if listed := tt.listed != ""; (p.lists > 0) != listed {
				t.Errorf("%d lists, want one: %t", p.lists, listed)
			}
		})
	}
}
