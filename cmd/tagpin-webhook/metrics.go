// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/tagpin/tagpin/pkg/fair"
)

// newRegistry returns a registry with the metrics of the process.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tagpin_build_info",
		Help: "1, with the versions of tagpin and Go that the server was built from.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(moduleVersion(), runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewBuildInfoCollector(), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

var (
	queueInUse = prometheus.NewDesc("tagpin_queue_in_use",
		"What is in use of a resource that namespaces share, by queue: lookups, pending-lookups (those "+
			"that are under way or wait), secrets and siblings (reads), images (of large objects), "+
			"slow-reviews (those that have waited for half a second), gets (manifests that are being "+
			"read), credentials (KiB, of lookups with large ones), and in bytes: reviews, manifests, "+
			"objects (large ones of the API server).",
		[]string{"queue"}, nil)
	queueCapacity = prometheus.NewDesc("tagpin_queue_capacity",
		"How much of the resource there is, by queue (lookups, pending-lookups, secrets, siblings, "+
			"reviews, images, slow-reviews, gets, credentials, manifests, objects). 0 if only the share "+
			"of each namespace is bounded.",
		[]string{"queue"}, nil)
	queueWaiting = prometheus.NewDesc("tagpin_queue_waiting",
		"Callers that wait for their namespace's turn, by queue (lookups, secrets, siblings, reviews, "+
			"gets, manifests, objects). The other queues let nobody wait: they admit or refuse a caller "+
			"at once.",
		[]string{"queue"}, nil)
	queueRefused = prometheus.NewDesc("tagpin_queue_refused_total",
		"Callers that got nothing of the resource, by queue (lookups, pending-lookups, secrets, "+
			"siblings, reviews, images, slow-reviews, gets, credentials, manifests, objects) and reason: "+
			"full (there was no room for one more of their namespace) or late (their time was over "+
			"before their turn, in the queues of tagpin_queue_waiting).",
		[]string{"queue", "reason"}, nil)
)

// queue is a fair.Queue, fair.Groups or fair.Room.
type queue interface{ Stats() fair.Stats }

// queueMetrics collects the statistics of the queues that it returns by name.
type queueMetrics func() map[string]queue

// Describe implements prometheus.Collector.
func (m queueMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m queueMetrics) Collect(out chan<- prometheus.Metric) {
	for name, q := range m() {
		gauge := func(d *prometheus.Desc, n float64) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, n, name)
		}
		refused := func(n float64, reason string) {
			out <- prometheus.MustNewConstMetric(
				queueRefused, prometheus.CounterValue, n, name, reason)
		}
		s := q.Stats()
		gauge(queueInUse, float64(s.InUse))
		gauge(queueCapacity, float64(s.Capacity))
		refused(float64(s.Refused), "full")
		if _, ok := q.(*fair.Room); ok { // nobody waits in it
			continue
		}
		gauge(queueWaiting, float64(s.Waiting))
		refused(float64(s.TimedOut), "late")
	}
}
