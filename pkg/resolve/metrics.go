// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/span"
)

// otherRegistry is the label of a host without one (registry.Client.Label).
const otherRegistry = "other"

// Values of the other labels, beside the classes of failure.
const (
	resultOK       = "ok"
	sourceRegistry = "registry"
	sourceCache    = "cache"
	sourceStale    = "stale"
)

// Metrics counts lookups. Its labels have a bounded set of values.
type Metrics struct {
	lookups *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics returns new metrics that are registered with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_resolve_lookups_total",
			Help: "Lookups, by registry (other, unless the config names it or it is well known), " +
				"result (ok, or the class of failure: notFound, unauthorized, unavailable, invalid) and " +
				"source (registry; cache; stale, where the registry is unavailable).",
		}, []string{"registry", "result", "source"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tagpin_resolve_duration_seconds",
			Help: "Time of the lookups that were not answered from memory, by registry (other, unless " +
				"the config names it or it is well known).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"registry"}),
	}
	r.MustRegister(m.lookups, m.seconds)
	return m
}

// Begin makes the counters start at 0 for registries with these labels, and for all others
// together, so that increase() sees the first failure.
func (m *Metrics) Begin(labels []string) {
	for _, label := range append([]string{otherRegistry}, labels...) {
		m.lookups.WithLabelValues(label, resultOK, sourceRegistry)
		m.lookups.WithLabelValues(label, resultOK, sourceStale)
		for _, class := range failure.Classes() {
			m.lookups.WithLabelValues(label, string(class), sourceRegistry)
		}
	}
}

// Measured is a Resolver that counts, times and traces the lookups of Next. The trace has the
// registry's host, but not the repository. Measured is outside of the cache, so that it counts
// answers from memory too.
type Measured struct {
	Next Resolver
	// Metrics counts the lookups. It may be nil.
	Metrics *Metrics
	// Label returns the label of a registry host, or "" if it has none. If nil, no host has one.
	Label func(host string) string
}

// Resolve returns the answer of Next.
func (m *Measured) Resolve(ctx context.Context, req Request) (Result, error) {
	ctx, s := span.Start(ctx, "lookup")
	defer s.End()
	began := time.Now()
	result, err := m.Next.Resolve(ctx, req)
	took := time.Since(began)
	source, outcome := sourceOf(result), resultOK
	if err != nil {
		outcome = string(failure.Of(err))
		s.Fail(outcome)
	}
	s.Text("tagpin.registry", req.Ref.Host())
	s.Text("tagpin.source", source)
	if m.Metrics == nil || errors.Is(context.Cause(ctx), ErrImpatient) && err != nil {
		return result, err // ErrImpatient says nothing about the registry
	}
	label := otherRegistry
	if m.Label != nil {
		label = cmp.Or(m.Label(req.Ref.Host()), otherRegistry)
	}
	m.Metrics.lookups.WithLabelValues(label, outcome, source).Inc()
	if !result.Cached {
		m.Metrics.seconds.WithLabelValues(label).Observe(took.Seconds())
	}
	return result, err
}

// sourceOf returns the label of the source of an answer.
func sourceOf(r Result) string {
	switch {
	case r.Stale:
		return sourceStale
	case r.Cached:
		return sourceCache
	}
	return sourceRegistry
}
