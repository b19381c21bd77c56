// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxNamespaces is the number of namespaces that have metrics of their own, and maxGone that of
	// the workloads of one namespace. All others together have the label others.
	maxNamespaces = 1000
	maxGone       = 10
	others        = "(others)" // which no object can be named
)

// Results of runs.
const (
	resultOK     = "ok"
	resultPart   = "incomplete"
	resultFailed = "failed"
)

// Metrics are the metrics of repeated audits. They show the last report.
type Metrics struct {
	runs     *prometheus.CounterVec
	interval prometheus.Gauge

	// These are there after the first report.
	finished, duration, containers, gone, failed, unread *prometheus.Desc

	mu   sync.Mutex
	last *counts // nil before the first report
}

// counts are the numbers of a report. The report itself is not kept.
type counts struct {
	finished     time.Time
	duration     time.Duration
	containers   map[string]map[State]int // by namespace
	gone         map[labels]int
	lookupFailed int // containers
	unread       int // parts of the cluster
}

// NewMetrics returns new metrics that are registered with r. interval is the time between two runs.
func NewMetrics(r prometheus.Registerer, interval time.Duration) *Metrics {
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tagpin_audit_runs_total",
			Help: "Audits of the cluster, by result: ok; incomplete, if a part of the cluster could not " +
				"be read; failed, if there is no report.",
		}, []string{"result"}),
		interval: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tagpin_audit_interval_seconds",
			Help: "Time from the beginning of an audit to that of the next. It varies by a tenth either " +
				"way.",
		}),
		finished: prometheus.NewDesc(
			"tagpin_audit_last_report_timestamp_seconds",
			"When the last audit that has a report ended. It is missing before the first report of the "+
				"process.",
			[]string{}, nil),
		duration: prometheus.NewDesc(
			"tagpin_audit_duration_seconds",
			"How long the last audit that has a report took.",
			[]string{}, nil),
		containers: prometheus.NewDesc(
			"tagpin_audit_containers",
			"Containers, by the namespace of their pod and by state: pinned, unpinned, exempt, drifted, "+
				"gone, unknown. A container may have several states. Namespaces beyond the first 1000 are "+
				"(others).",
			[]string{"workload_namespace", "state"}, nil),
		gone: prometheus.NewDesc(
			"tagpin_audit_gone_containers",
			"Containers whose image the registry no longer has, by namespace and workload. Workloads "+
				"of a namespace beyond the first 10 are (others), and namespaces beyond the first 1000 too.",
			[]string{"workload_namespace", "workload"}, nil),
		failed: prometheus.NewDesc(
			"tagpin_audit_lookup_failed_containers",
			"Containers that are unknown because a lookup failed, or was not made in time, in the last "+
				"audit.",
			[]string{}, nil),
		unread: prometheus.NewDesc(
			"tagpin_audit_unread_parts",
			"Parts of the cluster that the last audit could not read.",
			[]string{}, nil),
	}
	for _, result := range []string{resultOK, resultPart, resultFailed} {
		m.runs.WithLabelValues(result)
	}
	m.interval.Set(interval.Seconds())
	r.MustRegister(m.runs, m.interval, m)
	return m
}

// Finished counts a run, which has ended now and began at began. report is nil if it failed.
func (m *Metrics) Finished(report *Report, began time.Time) {
	result := resultOK
	switch {
	case report == nil:
		m.runs.WithLabelValues(resultFailed).Inc()
		return
	case len(report.Problems) > 0:
		result = resultPart
	}
	m.mu.Lock()
	m.last = &counts{
		finished: report.Time, duration: time.Since(began),
		containers: report.byNamespace(), gone: report.goneByWorkload(),
		lookupFailed: report.Summary.LookupFailed, unread: len(report.Problems),
	}
	m.mu.Unlock()
	m.runs.WithLabelValues(result).Inc()
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(descriptions chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		m.finished, m.duration, m.containers, m.gone, m.failed, m.unread,
	} {
		descriptions <- d
	}
}

// Collect implements prometheus.Collector. Before the first report, there is nothing to collect.
func (m *Metrics) Collect(metrics chan<- prometheus.Metric) {
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if last == nil {
		return
	}
	send := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	send(m.finished, float64(last.finished.Unix()))
	send(m.duration, last.duration.Seconds())
	for name, states := range last.containers {
		for _, s := range States() {
			send(m.containers, float64(states[s]), name, string(s))
		}
	}
	for w, n := range last.gone {
		send(m.gone, float64(n), w.namespace, w.workload)
	}
	send(m.failed, float64(last.lookupFailed))
	send(m.unread, float64(last.unread))
}

// byNamespace returns the states of the namespaces, and those of all others together.
func (r *Report) byNamespace() map[string]map[State]int {
	all := map[string]map[State]int{}
	for i, n := range r.Namespaces {
		if i < maxNamespaces {
			all[n.Name] = n.States
			continue
		}
		if all[others] == nil {
			all[others] = map[State]int{}
		}
		for s, count := range n.States {
			all[others][s] += count
		}
	}
	return all
}

// labels are those of a workload.
type labels struct{ namespace, workload string }

// goneByWorkload returns the number of containers of each workload that are gone.
func (r *Report) goneByWorkload() map[labels]int {
	all, workloads := map[labels]int{}, map[string]int{}
	for _, f := range r.Containers {
		if !f.Has(Gone) {
			continue
		}
		w := labels{f.Namespace, f.Workload.String()}
		_, known := all[w]
		n, seen := workloads[f.Namespace]
		switch {
		case known:
		case !seen && len(workloads) >= maxNamespaces:
			w = labels{others, others}
		case n >= maxGone:
			w.workload = others
		default:
			workloads[f.Namespace]++
		}
		all[w] += f.Count
	}
	return all
}
