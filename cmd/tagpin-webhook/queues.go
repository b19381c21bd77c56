// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/fair"
)

// The metrics of queues, by the name of the queue.
var (
	queueInUse = prometheus.NewDesc("tagpin_queue_in_use",
		"What is in use of a resource that namespaces share, by queue: lookups, and those that are pending, secrets and siblings that are being read, images of large objects, waiting reviews, gets (manifests that are being read), and bytes of reviews, manifests and large objects of the API server.",
		[]string{"queue"}, nil)
	queueCapacity = prometheus.NewDesc("tagpin_queue_capacity",
		"How much of the resource there is, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, gets, manifests, objects); 0 where only the share of each namespace is bounded.",
		[]string{"queue"}, nil)
	queueWaiting = prometheus.NewDesc("tagpin_queue_waiting",
		"Callers that wait for their namespace's turn, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, gets, manifests, objects).",
		[]string{"queue"}, nil)
	queueRefused = prometheus.NewDesc("tagpin_queue_refused_total",
		"Callers that got nothing of the resource, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, gets, manifests, objects) and reason: full (there was no room for one more of their namespace) or late (their time ran out while they waited).",
		[]string{"queue", "reason"}, nil)
)

// queue is a fair.Queue, fair.Groups or fair.Room.
type queue interface{ Stats() fair.Stats }

// queueMetrics collects what the queues are doing. A queue that replaces another one has its name.
type queueMetrics struct {
	mu     sync.Mutex
	queues map[string]queue
}

func newQueueMetrics(r prometheus.Registerer) *queueMetrics {
	m := &queueMetrics{queues: map[string]queue{}}
	r.MustRegister(m)
	return m
}

// add makes q the queue of a name.
func (m *queueMetrics) add(name string, q queue) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queues[name] = q
}

// Describe implements prometheus.Collector.
func (m *queueMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queueInUse, queueCapacity, queueWaiting, queueRefused} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *queueMetrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, q := range m.queues {
		s := q.Stats()
		out <- prometheus.MustNewConstMetric(queueInUse, prometheus.GaugeValue, float64(s.InUse), name)
		out <- prometheus.MustNewConstMetric(queueCapacity, prometheus.GaugeValue, float64(s.Capacity), name)
		out <- prometheus.MustNewConstMetric(queueWaiting, prometheus.GaugeValue, float64(s.Waiting), name)
		out <- prometheus.MustNewConstMetric(queueRefused, prometheus.CounterValue, float64(s.Refused), name, "full")
		out <- prometheus.MustNewConstMetric(queueRefused, prometheus.CounterValue, float64(s.TimedOut), name, "late")
	}
}
