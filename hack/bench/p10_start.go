// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// start measures row P10: the time from the start of tagpin-webhook, whose certificate is there,
// to its first response. The module e2e measures the same with an API server.
func start(ctx context.Context, st *stage, r *report.Report) error {
	var times []float64
	for round := range st.rounds {
		begin := time.Now()
		s, err := st.startTagpin(ctx, fmt.Sprint("start", round), defaultSize)
		if err != nil {
			return err
		}
		took := time.Since(begin)
		s.stop()
		times = append(times, took.Seconds())
		r.Sample("Start", report.Of(ms(took), "ms"))
	}
	r.AtMost("P10", "start to the first response, certificate present: s",
		report.Median(times), 1, "")
	return nil
}
