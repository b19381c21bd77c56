// SPDX-License-Identifier: Apache-2.0

package admit_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/policy"
)

// TestVerdicts checks that objects that are admitted although an image is not pinned have verdicts
// of their own, in the log and in the metric.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		kind   string
		images []string
		want   string
	}{
		{"Deployment", []string{"ghcr.io/a/good:1"}, "patched"},
		{"Deployment", []string{"ghcr.io/a/good:1", "ghcr.io/a/down:1"}, "deferred"},
		{"Deployment", []string{"ghcr.io/a/down:1"}, "deferred"},
		{"Deployment", []string{"ghcr.io/a/down:1", "ghcr.io/a/private:1"}, "unpinned"},
		{"Deployment", []string{"ghcr.io/a/private:1", "ghcr.io/a/down:1"}, "unpinned"},
		{"Deployment", []string{"ghcr.io/a/private:1", "ghcr.io/a/missing:1"}, "denied"},
	} {
		metrics := prometheus.NewRegistry()
		h := newHandler(t, policy.Enforce, registry)
		h.OnFailure = failure.Actions{
			failure.Unavailable: failure.Defer, failure.Unauthorized: failure.Allow,
		}
		h.Metrics = admit.NewMetrics(metrics)
		containers := make([]string, len(tt.images))
		for i, image := range tt.images {
			containers[i] = fmt.Sprintf(`{"name":"c%d","image":%q}`, i, image)
		}
		object := `{"spec":{"template":{"spec":{"containers":[` + strings.Join(containers, ",") + `]}}}}`
		lines := postLogged(t, h, review("CREATE", "apps", tt.kind, object, ""))["admission"]
		if len(lines) != 1 || lines[0]["verdict"] != tt.want {
			t.Errorf("%q: logged %v, want the verdict %s", tt.images, lines, tt.want)
		}
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				result := m.GetLabel()[1:]
				if f.GetName() != "tagpin_admission_reviews_total" || m.GetCounter().GetValue() == 0 {
					continue
				}
				if got := result[0].GetValue(); got != tt.want {
					t.Errorf("%q: counted %s, want %s", tt.images, got, tt.want)
				}
			}
		}
	}
}
