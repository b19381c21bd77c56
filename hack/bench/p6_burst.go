// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// burst measures row P6: the number of requests for a manifest when many Pods with the same new
// image are admitted concurrently. The first Pod's request is sent at once. The tag may have been
// pushed between that and the other Pods, so they share a second request (rule 7 of package
// resolve).
func burst(ctx context.Context, st *stage, r *report.Report) error {
	const admissions = 100
	// The delay is so long that all admissions arrive before the first response, even on a busy
	// machine.
	const delay = 500 * time.Millisecond
	st.images.delay.Store(int64(delay))
	defer st.images.delay.Store(0)
	var maxRequests int64
	for round := range min(st.rounds, 6) + 1 { // the first round opens the connections
		tag := fmt.Sprint(round)
		if err := st.images.push(ctx, "burst/app", tag); err != nil {
			return err
		}
		body, err := review(false, st.registry+"/burst/app:"+tag)
		if err != nil {
			return err
		}
		before := st.images.manifests.Load()
		if err := st.admittedConcurrently(ctx, st.tagpin, body, admissions); err != nil {
			return err
		}
		if round > 0 {
			requests := st.images.manifests.Load() - before
			maxRequests = max(maxRequests, requests)
			r.Sample("Burst", report.Of(float64(requests), "manifests"))
		}
	}
	r.AtMost("P6", "100 concurrent admissions of one new image: manifest requests",
		float64(maxRequests), 2, "k8s-digester 100 × 2")
	return nil
}
