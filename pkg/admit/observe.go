// SPDX-License-Identifier: Apache-2.0

package admit

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/span"
)

// Metrics counts answers. The values of all labels are closed sets.
type Metrics struct {
	reviews    *prometheus.CounterVec
	references *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

// NewMetrics creates the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_admission_reviews_total",
			Help: "Reviews answered, by mode (enforce, dry-run, keep) and result: patched, unchanged," +
				" skipped, denied; deferred or unpinned, if the object was admitted although an image of" +
				" it could not be pinned, because onFailure says defer or allow; not-reviewed, if it was" +
				" admitted without being looked at, for a reason that the log has; or refused, if the" +
				" request was not a review.",
		}, []string{"mode", "result"}),
		references: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_admission_references_total",
			Help: "References decided, by mode (enforce, dry-run, keep) and result: pinned; cached," +
				" if no registry was asked; stale, if the registry had no answer and the former one was" +
				" used; a class of failure (notFound, unauthorized, unavailable, invalid); otherwise the" +
				" reason: author, if the author wrote a digest; unchanged, sticky, refresh, kept, sibling," +
				" keep, exempt, short-name, placeholder, never-pull, blank, bad-text.",
		}, []string{"mode", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tagpin_admission_duration_seconds",
			Help:    "Time to answer a review, from its first byte, by mode (enforce, dry-run, keep).",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"mode"}),
	}
	r.MustRegister(m.reviews, m.references, m.seconds)
	// The counters start at 0, so that increase() sees the first review and the first failure.
	for _, mode := range policy.Modes() {
		for _, result := range []string{
			"patched", "unchanged", "skipped", "denied", "deferred", "unpinned", "not-reviewed",
			"refused",
		} {
			m.reviews.WithLabelValues(mode.String(), result)
		}
		for _, class := range failure.Classes() {
			m.references.WithLabelValues(mode.String(), string(class))
		}
	}
	return m
}

// observe counts an answer, adds it to the request's span, and logs it in one line, with a line for
// each lookup that failed before it.
func (h *Handler) observe(ctx context.Context, rv *review, a answer, took time.Duration) {
	mode, verdict, result := h.Mode.String(), verdictOf(a), a.result
	h.Metrics.reviews.WithLabelValues(mode, verdict).Inc()
	h.Metrics.seconds.WithLabelValues(mode).Observe(took.Seconds())
	for i := range result.Outcomes {
		h.Metrics.references.WithLabelValues(mode, resultOf(&result.Outcomes[i])).Inc()
	}
	if s := span.Of(ctx); s.Recording() {
		s.Text("tagpin.uid", rv.UID)
		s.Text("tagpin.mode", mode)
		s.Text("tagpin.verdict", verdict)
		s.Text("tagpin.kind", rv.Kind.String())
		s.Text("tagpin.name", rv.Name)
		s.Text("k8s.namespace.name", rv.Namespace)
		s.Number("tagpin.references", len(result.Outcomes))
	}
	h.log(ctx, rv, verdict, a, took)
}

// log writes the line of a review. In it, pinned counts the pins that are made, proposed or put
// back.
func (h *Handler) log(
	ctx context.Context, rv *review, verdict string, a answer, took time.Duration,
) {
	result := a.result
	log := logr.FromContextOrDiscard(ctx)
	if !log.Enabled() {
		return
	}
	if id := span.TraceID(ctx); id != "" {
		log = log.WithValues("trace", id)
	}
	h.logFailures(log, rv, result)
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
	log.Info("admission", "uid", rv.UID, "mode", h.Mode.String(), "verdict", verdict,
		"reason", string(a.reason), "skipped", string(result.Skipped),
		"namespace", rv.Namespace, "kind", rv.Kind.String(), "name", rv.Name, "dryRun", rv.DryRun,
		"references", len(result.Outcomes), "pinned", pinned, "cached", cached,
		"failed", failed, "ms", took.Milliseconds())
}

// verdictOf returns the result of a review, as a word for logs and metrics.
func verdictOf(a answer) string {
	switch {
	case !a.Allowed:
		return "denied"
	case a.reason != "":
		return "not-reviewed"
	case a.result.Skipped != "":
		return "skipped"
	case a.unpinned == failure.Allow:
		return "unpinned"
	case a.unpinned == failure.Defer:
		return "deferred"
	case a.Patch != nil:
		return "patched"
	}
	return "unchanged"
}

// resultOf returns the result for a reference, as a word for metrics.
func resultOf(o *pin.Outcome) string {
	switch {
	case o.Err != nil:
		return string(failure.Of(o.Err))
	case o.Stale:
		return "stale"
	case o.Cached:
		return "cached"
	case o.Sibling:
		return "sibling"
	case o.Action == policy.Resolve && o.Reason == policy.Tag:
		return "pinned"
	}
	return string(o.Reason)
}
