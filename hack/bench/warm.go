// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// warm measures figures P1 to P3: the admission of Pods of a controller whose images are cached or
// already pinned.
func warm(ctx context.Context, st *stage, s settings, r *report) error {
	cached, pinned, err := st.warmPods(ctx)
	if err != nil {
		return err
	}
	profile, err := st.profile(ctx, s)
	if err != nil {
		return err
	}
	if _, err := st.round(ctx, s, cached, pinned); err != nil { // warms up
		return err
	}
	requests, lines, err := st.counters()
	if err != nil {
		return err
	}
	var all rounds
	for range s.rounds {
		next, err := st.round(ctx, s, cached, pinned)
		if err != nil {
			return err
		}
		all = append(all, next)
	}
	requestsAfter, linesAfter, err := st.counters()
	if err != nil {
		return err
	}
	all.report(r)
	r.count("P3", "warm and pinned: requests to the registry", requestsAfter-requests, 0, "")
	// Every admission must be logged. Without a log line for each, the rates would be higher.
	r.atLeast("P1", "warm and pinned: lines of the log ÷ admissions",
		float64(linesAfter-lines)/float64(all.admissions()), 1, "")
	return profile()
}

// counters returns the number of requests to the registry, and of admissions in the log of
// tagpin-webhook.
func (st *stage) counters() (requests int64, lines int, err error) {
	log, err := os.ReadFile(st.tagpin.Log)
	return st.images.requests(), bytes.Count(log, []byte(`"msg":"admission"`)), err
}

type (
	// round has the loads of one round. They ran one after another.
	round  struct{ floor, warm, pinned load }
	rounds []round
)

func (st *stage) round(ctx context.Context, s settings, cached, pinned [][]byte) (round, error) {
	floor, errFloor := st.run(ctx, st.floor, cached, true, s.round)
	warm, errWarm := st.run(ctx, st.tagpin, cached, true, s.round)
	byDigest, errPinned := st.run(ctx, st.tagpin, pinned, false, s.round)
	return round{floor, warm, byDigest}, errors.Join(errFloor, errWarm, errPinned)
}

func (all rounds) admissions() int {
	n := 0
	for _, l := range all {
		n += l.warm.requests + l.pinned.requests
	}
	return n
}

// report adds the medians of the ratios of all rounds. The ratios compare loads of the same round,
// because other programs on the machine slow all of them down alike.
func (all rounds) report(r *report) {
	var rates, tails, pinnedRates []float64
	var floor, warm load
	for _, l := range all {
		rate := l.warm.perSecond / l.floor.perSecond
		tail := float64(l.warm.p99) / float64(l.floor.p99)
		pinnedRate := l.pinned.perSecond / l.floor.perSecond
		rates, tails = append(rates, rate), append(tails, tail)
		pinnedRates = append(pinnedRates, pinnedRate)
		r.sample("Warm", 1, append(l.warm.values(),
			value{rate, "rate/floor"}, value{tail, "p99/floor"})...)
		r.sample("Pinned", 1, append(l.pinned.values(), value{pinnedRate, "rate/floor"})...)
		r.sample("Floor", 1, l.floor.values()...)
		floor, warm = floor.plus(l.floor), warm.plus(l.warm)
	}
	r.atLeast("P1", "warm: requests/s ÷ floor's", median(rates), 0.9,
		"k8s-digester, Kyverno 0.07 (no registry latency), 0.013 (20 ms)")
	if floor.cpu > 0 {
		// On a busy machine, processor time limits the rate, and other programs affect this figure
		// less than the rate.
		r.atMost("P1", "warm: processor time a request ÷ floor's", warm.cost()/floor.cost(), 1.1, "")
	}
	r.atMost("P2", "warm: p99 ÷ floor's", median(tails), 1.3, "k8s-digester, Kyverno 6")
	r.atLeast("P3", "all pinned: requests/s ÷ floor's", median(pinnedRates), 1.0, "")
}

// plus returns a load with the requests and the processor time of both loads.
func (l load) plus(
	m load,
) load {
	return load{requests: l.requests + m.requests, cpu: l.cpu + m.cpu}
}

// cost returns the server's processor time for one request, in microseconds.
func (l load) cost() float64 { return l.cpu.Seconds() * 1e6 / float64(l.requests) }

func (l load) values() []value {
	v := []value{{l.perSecond, "req/s"}, {ms(l.p99), "p99-ms"}}
	if l.cpu > 0 {
		v = append(v, value{l.cost(), "cpu-µs/req"})
	}
	return v
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// warmPods pushes 50 images and returns reviews of Pods with two of them each. The Pods of cached
// have tags, and those of pinned have digests.
func (st *stage) warmPods(ctx context.Context) (cached, pinned [][]byte, err error) {
	const images = 50
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	image := func(i int) string { return fmt.Sprintf("warm/app%d", i%images) }
	for i := range images {
		if err := st.images.push(ctx, image(i), "1.4"); err != nil {
			return nil, nil, err
		}
		a, b := st.registry+"/"+image(i)+":1.4", st.registry+"/"+image(i+1)+":1.4"
		byTag, errTag := review(true, a, b)
		byDigest, errDigest := review(true, a+digest, b+digest)
		if err := errors.Join(errTag, errDigest); err != nil {
			return nil, nil, err
		}
		cached, pinned = append(cached, byTag), append(pinned, byDigest)
	}
	return cached, pinned, nil
}
