// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// TestMetrics checks the counts of lookups, by the source of their answers.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &resolvetest.Fake{}
		registry := prometheus.NewPedanticRegistry()
		m := &resolve.Measured{
			Next: remembering(t, f), Metrics: resolve.NewMetrics(registry),
			Label: func(host string) string {
				if host == "ghcr.io" || host == "ghcr.io:0443" {
					return "ghcr.io"
				}
				return ""
			},
		}
		ask := func(image string, fresh bool) {
			_, _ = m.Resolve(t.Context(), of(image, "", fresh)) // it is counted below
		}
		f.Set("ghcr.io/a", resolvetest.Digest("1"))
		ask("ghcr.io/a", true)
		ask("ghcr.io/a", false)
		time.Sleep(time.Minute)
		f.Fail("ghcr.io/a", failure.Unavailable)
		ask("ghcr.io/a", false) // stale
		ask("ghcr.io/a", true)  // no answer for a deploy
		f.Fail("ghcr.io/b", failure.Unauthorized)
		ask("ghcr.io/b", false)
		ask("ghcr.io/b", false) // remembered
		f.Fail("evil.example/c", failure.Invalid)
		f.Fail("ghcr.io:0443/a", failure.Invalid)
		ask("ghcr.io:0443/a", true)
		ask("evil.example/c", true)
		ask("evil2.example/d", true) // not found
		want := []string{
			"ghcr.io invalid registry 1", "ghcr.io ok cache 1", "ghcr.io ok registry 1", "ghcr.io ok stale 1",
			"ghcr.io unauthorized cache 1", "ghcr.io unauthorized registry 1", "ghcr.io unavailable registry 1",
			"other invalid registry 1", "other notFound registry 1",
		}
		if diff := cmp.Diff(want, lookups(t, registry)); diff != "" {
			t.Errorf("lookups -want +got\n%s", diff)
		}
		if n := observed(t, registry); n != 6 {
			t.Errorf("%d durations, want those of the 6 lookups at a registry", n)
		}
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("lint of the metrics: %v, %v", problems, err)
		}
	})
}

// lookups returns the series of the counter, each as its labels and its value.
func lookups(t *testing.T, r prometheus.Gatherer) (got []string) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter() == nil {
				continue
			}
			var words []string
			for _, l := range m.GetLabel() { // sorted by name: registry, result, source
				words = append(words, l.GetValue())
			}
			got = append(got, strings.Join(append(words, fmt.Sprint(m.GetCounter().GetValue())), " "))
		}
	}
	slices.Sort(got)
	return got
}

// observed returns the number of durations.
func observed(t *testing.T, r prometheus.Gatherer) (n uint64) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			n += m.GetHistogram().GetSampleCount()
		}
	}
	return n
}

// TestMetricsAreBounded checks that all hosts that the config does not name are one series.
func TestMetricsAreBounded(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := &resolve.Measured{Next: &resolvetest.Fake{}, Metrics: resolve.NewMetrics(registry)}
	for i := range 1000 {
		if _, err := m.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse(fmt.Sprintf("r%d.example/a", i))}); err == nil {
			t.Fatal("found")
		}
	}
	if diff := cmp.Diff([]string{"other notFound registry 1000"}, lookups(t, registry)); diff != "" {
		t.Errorf("lookups -want +got\n%s", diff)
	}
}

// TestMeasuredWithoutMetrics checks that the metrics may be nil.
func TestMeasuredWithoutMetrics(t *testing.T) {
	f := &resolvetest.Fake{}
	f.Set("a", resolvetest.Digest("1"))
	got, err := (&resolve.Measured{Next: f}).Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("a")})
	if err != nil || got.Digest != resolvetest.Digest("1") {
		t.Errorf("Resolve = %v, %v", got, err)
	}
}

func BenchmarkMeasured(b *testing.B) {
	f := &backend{digest: d("D")}
	m := &resolve.Measured{
		Next: remembering(b, f), Metrics: resolve.NewMetrics(prometheus.NewRegistry()),
	}
	r := request(false)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Resolve(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
