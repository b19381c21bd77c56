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

// warm is P1 to P3: Pods made by a controller, whose images are known or pinned already.
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
	asked, lines, err := st.traces()
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
	askedThen, linesThen, err := st.traces()
	if err != nil {
		return err
	}
	all.report(r)
	r.count("P3", "warm and pinned: requests to the registry", askedThen-asked, 0, "")
	// What the rates are worth: a log that leaves requests out costs less than one that has a line for each.
	r.atLeast("P1", "warm and pinned: lines of the log ÷ admissions", float64(linesThen-lines)/float64(all.admissions()), 1, "")
	return profile()
}

// traces are what admissions leave: requests to the registry, and lines in tagpin's log.
func (st *stage) traces() (asked int64, lines int, err error) {
	log, err := os.ReadFile(st.tagpin.log)
	return st.images.asked(), bytes.Count(log, []byte(`"msg":"admission"`)), err
}

// round is the load of each kind, one after another; rounds are some.
type (
	round  struct{ floor, warm, pinned load }
	rounds []round
)

func (st *stage) round(ctx context.Context, s settings, cached, pinned [][]byte) (round, error) {
	floor, errFloor := st.run(ctx, st.floor, cached, true, s.round)
	known, errKnown := st.run(ctx, st.tagpin, cached, true, s.round)
	idle, errIdle := st.run(ctx, st.tagpin, pinned, false, s.round)
	return round{floor, known, idle}, errors.Join(errFloor, errKnown, errIdle)
}

func (all rounds) admissions() int {
	n := 0
	for _, l := range all {
		n += l.warm.requests + l.pinned.requests
	}
	return n
}

// report compares the loads of each round, which a busy machine hinders alike, and gives the medians.
func (all rounds) report(r *report) {
	var rates, tails, idleRates []float64
	var floor, known load
	for _, l := range all {
		rate, tail, idleRate := l.warm.perSecond/l.floor.perSecond, float64(l.warm.p99)/float64(l.floor.p99), l.pinned.perSecond/l.floor.perSecond
		rates, tails, idleRates = append(rates, rate), append(tails, tail), append(idleRates, idleRate)
		r.sample("Warm", 1, append(l.warm.values(), value{rate, "rate/floor"}, value{tail, "p99/floor"})...)
		r.sample("Pinned", 1, append(l.pinned.values(), value{idleRate, "rate/floor"})...)
		r.sample("Floor", 1, l.floor.values()...)
		floor, known = floor.plus(l.floor), known.plus(l.warm)
	}
	r.atLeast("P1", "warm: requests/s ÷ floor's", median(rates), 0.9, "k8s-digester, Kyverno 0.07 (no registry latency), 0.013 (20 ms)")
	if floor.cpu > 0 {
		// Where processors are short, this is what the rate comes to, and other programs change it less.
		r.atMost("P1", "warm: processor time a request ÷ floor's", known.cost()/floor.cost(), 1.1, "")
	}
	r.atMost("P2", "warm: p99 ÷ floor's", median(tails), 1.3, "k8s-digester, Kyverno 6")
	r.atLeast("P3", "all pinned: requests/s ÷ floor's", median(idleRates), 1.0, "")
}

// plus adds what can be added.
func (l load) plus(m load) load { return load{requests: l.requests + m.requests, cpu: l.cpu + m.cpu} }

// cost is the server's processor time for one request, in microseconds.
func (l load) cost() float64 { return l.cpu.Seconds() * 1e6 / float64(l.requests) }

func (l load) values() []value {
	v := []value{{l.perSecond, "req/s"}, {ms(l.p99), "p99-ms"}}
	if l.cpu > 0 {
		v = append(v, value{l.cost(), "cpu-µs/req"})
	}
	return v
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }

// warmPods are reviews of Pods of two containers, from 50 images: by tag, and by digest.
func (st *stage) warmPods(ctx context.Context) (cached, pinned [][]byte, err error) {
	const all = 50
	const digest = "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	image := func(i int) string { return fmt.Sprintf("warm/app%d", i%all) }
	for i := range all {
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
