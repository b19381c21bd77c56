// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// firstPod measures row P5: the number of sequential round trips to the registry for the first
// Pod after the start of tagpin-webhook. The registry requires a token for each repository, so that
// an image takes three: for the challenge, the token and the manifest. Package pin looks up at most
// 16 images of a Pod at a time. Each further 16 take two more, since the challenge is known then.
func firstPod(ctx context.Context, st *stage, r *report.Report) error {
	few := 0
	for _, containers := range []int{1, 10, 16} {
		trips, err := st.firstPod(ctx, containers, r)
		if err != nil {
			return err
		}
		few = max(few, trips)
	}
	many, err := st.firstPod(ctx, 40, r)
	if err != nil {
		return err
	}
	r.AtMost("P5", "first Pod of 1, 10, 16 images: sequential round trips", float64(few), 3, "")
	r.AtMost("P5", "first Pod of 40 images: sequential round trips", float64(many), 3, "")
	return nil
}

// firstPod returns the round trips for the first Pod after a start.
func (st *stage) firstPod(
	ctx context.Context, containers int, r *report.Report,
) (trips int, err error) {
	// The delay is long, so that the time on this machine is not mistaken for a round trip.
	const delay = 200 * time.Millisecond
	defer st.images.delay.Store(0)
	var refs []string
	for i := range containers {
		repository := fmt.Sprintf("nothing/app%d", i)
		if err := st.images.push(ctx, repository, "1"); err != nil {
			return 0, err
		}
		refs = append(refs, st.registry+"/"+repository+":1")
	}
	body, err := review(false, refs...)
	if err != nil {
		return 0, err
	}
	fresh, err := st.startTagpin(ctx, fmt.Sprintf("nothing%d", containers), defaultSize)
	if err != nil {
		return 0, err
	}
	st.images.delay.Store(int64(delay))
	st.images.startTrace()
	if err := st.admitted(ctx, fresh, body); err != nil {
		return 0, err
	}
	trips = st.images.stopTrace()
	r.Sample(fmt.Sprintf("Nothing/%d", containers), report.Of(float64(trips), "roundtrips"))
	return trips, nil
}
