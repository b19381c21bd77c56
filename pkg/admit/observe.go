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
	"github.com/tagpin/tagpin/pkg/span"
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
			Help: "Reviews answered, by mode (enforce, dry-run, keep) and result: patched, unchanged, skipped, denied, or refused where it was no review.",
		}, []string{"mode", "result"}),
		references: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_admission_references_total",
			Help: "References decided, by mode (enforce, dry-run, keep) and result: pinned; cached or stale, where no registry was asked; a class of failure (notFound, unauthorized, unavailable, invalid); else the reason: author, who wrote a digest; unchanged, sticky, refresh, kept, sibling, keep, exempt, placeholder, never-pull, blank, bad-text.",
		}, []string{"mode", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tagpin_admission_duration_seconds",
			Help:    "Time to answer a review, from its first byte, by mode (enforce, dry-run, keep).",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"mode"}),
	}
	r.MustRegister(m.reviews, m.references, m.seconds)
	for _, mode := range []pin.Mode{pin.Enforce, pin.DryRun, pin.Keep} { // from 0 on, so that the first one is an increase
		for _, result := range []string{"patched", "unchanged", "skipped", "denied", "refused"} {
			m.reviews.WithLabelValues(mode.String(), result)
		}
	}
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

// trace tells the span of a request, which its context has, what it was and what became of it.
func trace(ctx context.Context, mode pin.Mode, rv *review, r *admissionv1.AdmissionResponse, result pin.Result) {
	s := span.Of(ctx)
	if !s.Recording() {
		return
	}
	s.Text("tagpin.uid", rv.UID)
	s.Text("tagpin.mode", mode.String())
	s.Text("tagpin.verdict", verdict(r, result))
	s.Text("tagpin.kind", rv.Kind.String())
	s.Text("tagpin.name", rv.Name)
	s.Text("k8s.namespace.name", rv.Namespace)
	s.Number("tagpin.references", len(result.Outcomes))
}

// logAnswer writes the one line of a request.
func logAnswer(ctx context.Context, mode pin.Mode, rv *review, r *admissionv1.AdmissionResponse, result pin.Result, took time.Duration) {
	log := logr.FromContextOrDiscard(ctx)
	if !log.Enabled() {
		return
	}
	if id := span.TraceID(ctx); id != "" {
		log = log.WithValues("trace", id)
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
