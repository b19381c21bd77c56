// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// roundTrip is the simulated delay of the registry for row P4.
const roundTrip = 20 * time.Millisecond

// cold measures row P4: the time to admit a Pod with ten images of ten repositories. Their tags
// are new, but tagpin-webhook already has a connection and the tokens.
func cold(ctx context.Context, st *stage, r *report.Report) error {
	const all = 10
	st.images.delay.Store(int64(roundTrip))
	defer st.images.delay.Store(0)
	var times, trips []float64
	for round := range 3*st.rounds + 1 { // the first round opens the connection and gets the tokens
		var refs []string
		for i := range all {
			repository, tag := fmt.Sprintf("cold/app%d", i), fmt.Sprint(round)
			if err := st.images.push(ctx, repository, tag); err != nil {
				return err
			}
			refs = append(refs, st.registry+"/"+repository+":"+tag)
		}
		body, err := review(false, refs...)
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := st.admitted(ctx, st.tagpin, body); err != nil {
			return err
		}
		took := time.Since(begin)
		trip, err := st.trip(ctx, "cold/app0", "0")
		if err != nil {
			return err
		}
		if round > 0 {
			times, trips = append(times, took.Seconds()), append(trips, trip.Seconds())
			r.Sample("Cold",
				report.Of(ms(took), "ms"),
				report.Of(ms(trip), "roundtrip-ms"),
				report.Of(took.Seconds()/trip.Seconds(), "time/roundtrip"))
		}
	}
	r.AtMost("P4", "cold: one Pod of 10 images ÷ a round trip of 20 ms",
		report.Median(times)/report.Median(trips), 1.3, "k8s-digester, Kyverno 22")
	return nil
}

// trip returns the duration of one request to the registry over an existing connection and with an
// existing token.
func (st *stage) trip(ctx context.Context, repository, tag string) (time.Duration, error) {
	url := "https://" + st.registry + "/v2/" + repository + "/manifests/" + tag
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	begin := time.Now()
	resp, err := st.client.Do(req)
	if err != nil {
		return 0, err
	}
	took := time.Since(begin)
	if resp.StatusCode != http.StatusOK {
		return 0, errors.Join(fmt.Errorf("unexpected status %s", resp.Status), resp.Body.Close())
	}
	return took, resp.Body.Close()
}
