// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/tagpin/tagpin/pkg/fair"
)

// TestQueueMetrics checks the metrics of a queue that has replaced another one.
func TestQueueMetrics(t *testing.T) {
	q := &fair.Queue{}
	m := queueMetrics(func() map[string]queue { return map[string]queue{"reviews": q} })
	q = &fair.Queue{Capacity: 100, Share: 50}
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
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "tagpin_queue_in_use",
		"tagpin_queue_capacity", "tagpin_queue_waiting", "tagpin_queue_refused_total")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for _, want := range []string{
		`tagpin_queue_in_use{queue="reviews"} 30`,
		`tagpin_queue_capacity{queue="reviews"} 100`,
		`tagpin_queue_waiting{queue="reviews"} 0`,
		`tagpin_queue_refused_total{queue="reviews",reason="full"} 1`,
		`tagpin_queue_refused_total{queue="reviews",reason="late"} 1`,
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("metrics lack %s:\n%s", want, text)
		}
	}
}

// TestRoomMetrics checks that a fair.Room, in which nobody waits, has no metrics about waiting.
func TestRoomMetrics(t *testing.T) {
	room := &fair.Room{Capacity: 4}
	for range 4 {
		if leave, err := room.Enter("", "team", 1); err == nil {
			defer leave()
		}
	}
	m := queueMetrics(func() map[string]queue { return map[string]queue{"images": room} })
	want := []string{
		`tagpin_queue_capacity{queue="images"} 4`,
		`tagpin_queue_in_use{queue="images"} 1`,
		`tagpin_queue_refused_total{queue="images",reason="full"} 3`,
	}
	text, err := testutil.CollectAndFormat(m, expfmt.TypeTextPlain, "tagpin_queue_in_use",
		"tagpin_queue_capacity", "tagpin_queue_waiting", "tagpin_queue_refused_total")
	if err != nil {
		t.Fatal(err)
	}
	got := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(line, "#")
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("metrics: -want +got\n%s", diff)
	}
}
