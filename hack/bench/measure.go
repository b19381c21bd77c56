// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// roundTrip is how long the registry takes for an answer, where its distance matters.
const roundTrip = 20 * time.Millisecond

// warm is P1 to P3: Pods made by a controller, whose images are known or pinned already.
func warm(ctx context.Context, st *stage, s settings, r *report) error {
	const images = 50
	var cached, pinned [][]byte
	for i := range images {
		tags := [2]string{fmt.Sprintf("%d", i), fmt.Sprintf("%d", (i+1)%images)}
		if err := st.images.push(ctx, "warm/app", tags[0]); err != nil {
			return err
		}
		a, b := st.registry+"/warm/app:"+tags[0], st.registry+"/warm/app:"+tags[1]
		digest := "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		cached, pinned = append(cached, review(true, a, b)), append(pinned, review(true, a+digest, b+digest))
	}
	var rate, tail, still []float64
	for round := range s.rounds + 1 { // the first one warms up
		floor, errFloor := st.run(ctx, st.floor, cached, true, s.round)
		known, errKnown := st.run(ctx, st.tagpin, cached, true, s.round)
		idle, errIdle := st.run(ctx, st.tagpin, pinned, false, s.round)
		if err := errors.Join(errFloor, errKnown, errIdle); err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		rate = append(rate, known.perSecond/floor.perSecond)
		tail = append(tail, float64(known.p99)/float64(floor.p99))
		still = append(still, idle.perSecond/floor.perSecond)
		r.sample("Warm", known.perSecond, "req/s", known.p99.Seconds()*1e3, "p99-ms", rate[round-1], "rate/floor", tail[round-1], "p99/floor")
		r.sample("Pinned", idle.perSecond, "req/s", still[round-1], "rate/floor")
		r.sample("Floor", floor.perSecond, "req/s", floor.p99.Seconds()*1e3, "p99-ms")
	}
	r.ratio("P1", "warm: requests/s ÷ floor's", median(rate), 0.9, false, "k8s-digester, Kyverno 0.07; 0.013 at 20 ms")
	r.ratio("P2", "warm: p99 ÷ floor's", median(tail), 1.3, true, "k8s-digester, Kyverno 6")
	r.ratio("P3", "all pinned: requests/s ÷ floor's", median(still), 1.0, false, "")
	return nil
}

// ratio adds a figure that is to be at least its goal, or at most.
func (r *report) ratio(id, what string, value, goal float64, atMost bool, peer string) {
	sign, met := "≥", value >= goal
	if atMost {
		sign, met = "≤", value <= goal
	}
	r.add(figure{id, what, fmt.Sprintf("%.2f", value), fmt.Sprintf("%s %.1f", sign, goal), peer, met})
}

// cold is P4: one Pod of ten images that are new, over connections that are not.
func cold(ctx context.Context, st *stage, s settings, r *report) error {
	const images = 10
	st.images.delay.Store(int64(roundTrip))
	defer st.images.delay.Store(0)
	var times, trips []float64
	for round := range 3*s.rounds + 1 { // the first one opens the connections
		var refs []string
		for i := range images {
			tag := fmt.Sprintf("cold-%d-%d", round, i)
			if err := st.images.push(ctx, "cold/app", tag); err != nil {
				return err
			}
			refs = append(refs, st.registry+"/cold/app:"+tag)
		}
		body := review(false, refs...)
		begin := time.Now()
		if err := st.admitted(ctx, st.tagpin, body, true); err != nil {
			return err
		}
		took := time.Since(begin)
		trip, err := st.trip(ctx)
		if err != nil {
			return err
		}
		if round > 0 {
			times, trips = append(times, took.Seconds()), append(trips, trip.Seconds())
			r.sample("Cold", took.Seconds()*1e3, "ms", took.Seconds()/trip.Seconds(), "time/roundtrip")
		}
	}
	r.ratio("P4", "cold: one Pod of 10 images ÷ a round trip of 20 ms", median(times)/median(trips), 1.3, true, "k8s-digester, Kyverno 22")
	return nil
}

// trip is how long one request to the registry takes.
func (st *stage) trip(ctx context.Context) (time.Duration, error) {
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "http://"+st.registry+"/v2/cold/app/manifests/cold-0-0", nil)
	if err != nil {
		return 0, err
	}
	resp, err := st.client.Do(req)
	if err != nil {
		return 0, err
	}
	return time.Since(begin), resp.Body.Close()
}

// burst is P6: many admissions at once of one image that is new.
func burst(ctx context.Context, st *stage, s settings, r *report) error {
	const admissions = 100
	st.images.delay.Store(int64(10 * roundTrip)) // so that all have come before there is an answer
	defer st.images.delay.Store(0)
	var most int64
	for round := range s.rounds {
		tag := fmt.Sprintf("burst-%d", round)
		if err := st.images.push(ctx, "burst/app", tag); err != nil {
			return err
		}
		body := review(false, st.registry+"/burst/app:"+tag)
		before := st.images.manifests.Load()
		errs := make([]error, admissions)
		var wg sync.WaitGroup
		for i := range admissions {
			wg.Go(func() { errs[i] = st.admitted(ctx, st.tagpin, body, true) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		asked := st.images.manifests.Load() - before
		most = max(most, asked)
		r.sample("Burst", float64(asked), "manifests")
	}
	r.add(figure{"P6", "100 admissions at once of one new image: manifest requests", fmt.Sprint(most), "1", "k8s-digester 200", most == 1})
	return nil
}
