// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// firstPod measures figure P5: the number of sequential round trips to the registry for the first
// Pod after the start of tagpin-webhook. The registry requires a token for each repository.
func firstPod(ctx context.Context, st *stage, _ settings, r *report) error {
	// The delay is long, so that the time on this machine is not mistaken for a round trip.
	const delay = 200 * time.Millisecond
	defer st.images.delay.Store(0)
	maxTrips := 0
	for _, containers := range []int{1, 10, 40} {
		st.images.delay.Store(0)
		var refs []string
		for i := range containers {
			repository := fmt.Sprintf("nothing/app%d", i)
			if err := st.images.push(ctx, repository, "1"); err != nil {
				return err
			}
			refs = append(refs, st.registry+"/"+repository+":1")
		}
		body, err := review(false, refs...)
		if err != nil {
			return err
		}
		fresh, err := st.startTagpin(ctx, fmt.Sprintf("nothing%d", containers), defaultSize)
		if err != nil {
			return err
		}
		st.images.delay.Store(int64(delay))
		st.images.startTrace()
		if err := st.admitted(ctx, fresh, body, true); err != nil {
			return err
		}
		trips := st.images.stopTrace()
		maxTrips = max(maxTrips, trips)
		r.sample(fmt.Sprintf("Nothing/%d", containers), 1, value{float64(trips), "roundtrips"})
	}
	r.count("P5", "first Pod of 1, 10, 40 images, bearer: sequential round trips",
		int64(maxTrips), 3, "")
	return nil
}
