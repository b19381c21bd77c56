// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/failure"
)

// The labels of the metrics, but for the registries that are named.
const (
	otherRegistry = "other" // tenants choose the host of an image: it is no label

	fromRegistry = "registry" // asked, or a look-up in flight joined
	fromCache    = "cache"
	fromStale    = "stale" // too old, but the registry can't be reached
)

// Metrics counts look-ups. Its labels are closed sets. A nil *Metrics counts nothing.
type Metrics struct {
	lookups *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

// NewMetrics makes the metrics and registers them.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_resolve_lookups_total",
			Help: "Look-ups, by registry (other where the config does not name it), result (ok, or the class of failure: notFound, unauthorized, unavailable, invalid) and source (registry; cache; stale, where the registry can't be reached).",
		}, []string{"registry", "result", "source"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tagpin_resolve_duration_seconds",
			Help:    "Time of the look-ups that were not answered from memory, by registry (other where the config does not name it).",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"registry"}),
	}
	r.MustRegister(m.lookups, m.seconds)
	return m
}

// Measured counts and times the look-ups of Next. It stands outside of the cache, whose answers it tells apart.
type Measured struct {
	Next    Resolver
	Metrics *Metrics
	// Label is the label of a registry host, as the config spells it; empty for one that it does not
	// name, however a tenant spells it. Nil: none has a label of its own.
	Label func(host string) string
}

// Resolve asks Next, and gives its answer as it is.
func (m *Measured) Resolve(ctx context.Context, req Request) (Result, error) {
	if m.Metrics == nil {
		return m.Next.Resolve(ctx, req)
	}
	begin := time.Now()
	result, err := m.Next.Resolve(ctx, req)
	took := time.Since(begin)
	host := otherRegistry
	if m.Label != nil {
		host = cmp.Or(m.Label(req.Ref.Host()), otherRegistry)
	}
	from := source(result)
	m.Metrics.lookups.WithLabelValues(host, outcome(err), from).Inc()
	if from == fromRegistry {
		m.Metrics.seconds.WithLabelValues(host).Observe(took.Seconds())
	}
	return result, err
}

func source(r Result) string {
	switch {
	case r.Stale:
		return fromStale
	case r.Cached:
		return fromCache
	}
	return fromRegistry
}

// outcome is the label of a lookup's result.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(failure.Of(err))
}
