// SPDX-License-Identifier: Apache-2.0

package cluster_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/workload"
)

// TestTooMany checks that at most 64 secrets of a pod are read.
func TestTooMany(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{}}
	registry := prometheus.NewRegistry()
	c := &cluster.Cluster{Get: a.get, Metrics: cluster.NewMetrics(registry)}
	defer c.Close()
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	named(c, names...).Credentials(t.Context(), image, false)
	if got := len(a.take()); got != 64 {
		t.Errorf("%d reads, want 64", got)
	}
	if got := counts(t, registry)["secret too-many"]; got != 1 {
		t.Errorf("counter of too-many = %v, want 1", got)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("GatherAndLint = %v, %v, want no problems", problems, err)
	}
}

// TestTooManyCandidates checks that there are at most 16 candidates, the tenant's own ones first,
// and that the others are counted.
func TestTooManyCandidates(t *testing.T) {
	a := &api{secrets: map[string]*corev1.Secret{}}
	registry := prometheus.NewRegistry()
	c := &cluster.Cluster{
		Get: a.get, Metrics: cluster.NewMetrics(registry),
		Shared: sharedUsers("node0", "node1", "node2", "node3"),
	}
	defer c.Close()
	id := workload.Identity{}
	var want []string
	for i := range 14 {
		name := fmt.Sprintf("s%d", i)
		a.secrets[name] = secret(name)
		id.PullSecrets, want = append(id.PullSecrets, name), append(want, name)
	}
	for i, tt := range []struct {
		want []string
		left float64
	}{
		{slices.Concat(want, []string{"node0(shared)", "node1(shared)"}), 2},
		{slices.Concat(want, []string{"s14", "s15"}), 8},
	} {
		got := users(c.For("ns", id).Credentials(t.Context(), image, false))
		if want := strings.Join(tt.want, " "); got != want {
			t.Errorf("call %d: Credentials = %q, want %q", i, got, want)
		}
		left := fmt.Sprintf(`
# HELP tagpin_keychain_candidates_left_total Credentials that match an image and were not tried, because 16 others, or 64 KiB of others, come before them in the kubelet's order. Counted for each lookup.
# TYPE tagpin_keychain_candidates_left_total counter
tagpin_keychain_candidates_left_total %g
`, tt.left)
		const name = "tagpin_keychain_candidates_left_total"
		if err := testutil.GatherAndCompare(registry, strings.NewReader(left), name); err != nil {
			t.Error(err)
		}
		for i := 14; i < 18; i++ {
			name := fmt.Sprintf("s%d", i)
			a.secrets[name] = secret(name)
			id.PullSecrets = append(id.PullSecrets, name)
		}
	}
}
