// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
)

// Metrics counts answers. All labels are closed sets. A nil *Metrics counts nothing.
type Metrics struct {
	reviews    *prometheus.CounterVec
	references *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_admission_reviews_total",
			Help: "Reviews answered, by mode and result: patched, unchanged, skipped, denied, or refused where it was no review.",
		}, []string{"mode", "result"}),
		references: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_admission_references_total",
			Help: "References decided, by mode and result: pinned, cached, stale, a class of failure, or the reason why it was left.",
		}, []string{"mode", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tagpin_admission_duration_seconds",
			Help:    "Time to answer a review, from its first byte.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"mode"}),
	}
	r.MustRegister(m.reviews, m.references, m.seconds)
	return m
}

func (m *Metrics) failed(mode pin.Mode) {
	if m != nil {
		m.reviews.WithLabelValues(mode.String(), "refused").Inc()
	}
}

func (m *Metrics) observe(mode pin.Mode, r *admissionv1.AdmissionResponse, result pin.Result, took time.Duration) {
	if m == nil {
		return
	}
	m.reviews.WithLabelValues(mode.String(), verdict(r, result)).Inc()
	m.seconds.WithLabelValues(mode.String()).Observe(took.Seconds())
	for i := range result.Outcomes {
		m.references.WithLabelValues(mode.String(), outcomeWord(&result.Outcomes[i])).Inc()
	}
}

func verdict(r *admissionv1.AdmissionResponse, result pin.Result) string {
	switch {
	case !r.Allowed:
		return "denied"
	case result.Skipped != "":
		return "skipped"
	case r.Patch != nil:
		return "patched"
	}
	return "unchanged"
}

func outcomeWord(o *pin.Outcome) string {
	switch {
	case o.Action == policy.Resolve && o.Err != nil:
		return class(o.Err)
	case o.Stale:
		return "stale"
	case o.Cached:
		return "cached"
	case o.Action == policy.Resolve && o.Reason == policy.Tag:
		return "pinned"
	}
	return string(o.Reason)
}

// logAnswer writes the one line of a request.
func logAnswer(ctx context.Context, mode pin.Mode, rv *review, r *admissionv1.AdmissionResponse, result pin.Result, took time.Duration) {
	log := logr.FromContextOrDiscard(ctx)
	if !log.Enabled() {
		return
	}
	pinned, cached, failed := 0, 0, 0
	for i := range result.Outcomes {
		o := &result.Outcomes[i]
		switch {
		case o.Err != nil:
			failed++
		case !o.Pin.IsZero():
			pinned++
		}
		if o.Cached {
			cached++
		}
	}
	log.Info("admission", "uid", rv.UID, "mode", mode.String(), "verdict", verdict(r, result), "skipped", string(result.Skipped),
		"namespace", rv.Namespace, "kind", rv.Kind.String(), "name", rv.Name, "dryRun", rv.DryRun,
		"references", len(result.Outcomes), "pinned", pinned, "cached", cached, "failed", failed, "ms", took.Milliseconds())
}
