// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tagpin/tagpin/pkg/fair"
)

// What a queue holds, and whom it refused, can be seen.
func TestQueueMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	m := newQueueMetrics(registry)
	q := &fair.Queue{Capacity: 100, Share: 50}
	m.add("reviews", &fair.Queue{})
	m.add("reviews", q)
	leave, err := q.Enter(t.Context(), "team", 30)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	if _, err := q.Enter(t.Context(), "team", 51); err == nil {
		t.Fatal("more than a share was let in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := q.Enter(ctx, "team", 40); err == nil {
		t.Fatal("entered without room")
	}
	const want = `
# HELP tagpin_queue_capacity How much of the resource there is, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, manifests); 0 where only the share of each namespace is bounded.
# TYPE tagpin_queue_capacity gauge
tagpin_queue_capacity{queue="reviews"} 100
# HELP tagpin_queue_in_use What is in use of a resource that namespaces share, by queue: lookups, and those that are pending, secrets and siblings that are being read, images of large objects, waiting reviews, and bytes of reviews and manifests.
# TYPE tagpin_queue_in_use gauge
tagpin_queue_in_use{queue="reviews"} 30
# HELP tagpin_queue_refused_total Callers that got nothing of the resource, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, manifests) and reason: full (there was no room for one more of their namespace) or late (their time ran out while they waited).
# TYPE tagpin_queue_refused_total counter
tagpin_queue_refused_total{queue="reviews",reason="full"} 1
tagpin_queue_refused_total{queue="reviews",reason="late"} 1
# HELP tagpin_queue_waiting Callers that wait for their namespace's turn, by queue (lookups, pending, secrets, siblings, reviews, images, waiting, manifests).
# TYPE tagpin_queue_waiting gauge
tagpin_queue_waiting{queue="reviews"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
