// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestBegin checks that the series of failures exist before the first failure.
func TestBegin(t *testing.T) {
	r := prometheus.NewRegistry()
	resolve.NewMetrics(r).Begin([]string{"ghcr.io"})
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			labels := m.GetLabel() // sorted by name: registry, result, source
			got[labels[0].GetValue()+" "+labels[2].GetValue()]++
			if m.GetCounter().GetValue() != 0 {
				t.Errorf("%v is not 0", m)
			}
		}
	}
	want := map[string]int{"other registry": 5, "other stale": 1, "ghcr.io registry": 5, "ghcr.io stale": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("series: -want +got\n%s", diff)
	}
}
