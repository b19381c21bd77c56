// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// group is a group of figures that are measured together.
type group struct {
	name    string // the numbers of the figures
	measure func(context.Context, *stage, settings, *report) error
}

func groups() []group {
	return []group{
		{"P1 P2 P3", warm},
		{"P4", cold},
		{"P5", firstPod},
		{"P6", burst},
		{"P9", memory},
		{"P11", allocations},
	}
}

func groupNames() string {
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	return strings.Join(names, ", ")
}

// roundTrip is the simulated delay of the registry for figure P4.
const roundTrip = 20 * time.Millisecond

// cold measures figure P4: the time to admit a Pod with ten images of ten repositories. Their tags
// are new, but tagpin-webhook already has a connection and the tokens.
func cold(ctx context.Context, st *stage, s settings, r *report) error {
	const all = 10
	st.images.delay.Store(int64(roundTrip))
	defer st.images.delay.Store(0)
	var times, trips []float64
	for round := range 3*s.rounds + 1 { // the first round opens the connection and gets the tokens
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
		if err := st.admitted(ctx, st.tagpin, body, true); err != nil {
			return err
		}
		took := time.Since(begin)
		trip, err := st.trip(ctx, "cold/app0", "0")
		if err != nil {
			return err
		}
		if round > 0 {
			times, trips = append(times, took.Seconds()), append(trips, trip.Seconds())
			r.sample("Cold", 1,
				value{ms(took), "ms"},
				value{ms(trip), "roundtrip-ms"},
				value{took.Seconds() / trip.Seconds(), "time/roundtrip"})
		}
	}
	r.atMost("P4", "cold: one Pod of 10 images ÷ a round trip of 20 ms",
		median(times)/median(trips), 1.3, "k8s-digester, Kyverno 22")
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

// burst measures figure P6: the number of requests for a manifest when many Pods with the same new
// image are admitted concurrently. The first Pod's request is sent at once. The tag may have been
// pushed between that and the other Pods, so they share a second request (rule 7 of package
// resolve).
func burst(ctx context.Context, st *stage, s settings, r *report) error {
	const admissions = 100
	// The delay is so long that all admissions arrive before the first response, even on a busy
	// machine.
	const delay = 500 * time.Millisecond
	st.images.delay.Store(int64(delay))
	defer st.images.delay.Store(0)
	var maxRequests int64
	for round := range min(s.rounds, 6) + 1 { // the first round opens the connections
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
			r.sample("Burst", 1, value{float64(requests), "manifests"})
		}
	}
	r.count("P6", "100 concurrent admissions of one new image: manifest requests",
		maxRequests, 2, "k8s-digester 100 × 2")
	return nil
}
