// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// warm measures rows P1, P2, P3 and P15: the admission of Pods of a controller whose images are
// cached or already pinned.
func warm(ctx context.Context, st *stage, r *report.Report) error {
	cached, pinned, err := st.warmPods(ctx)
	if err != nil {
		return err
	}
	profile, err := st.profile(ctx)
	if err != nil {
		return err
	}
	if _, err := st.warmRound(ctx, cached, pinned); err != nil { // warms up
		return err
	}
	requests, lines, err := st.counters()
	if err != nil {
		return err
	}
	var all warmRounds
	for range st.rounds {
		next, err := st.warmRound(ctx, cached, pinned)
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
	r.AtMost("P3", "warm and pinned: requests to the registry",
		float64(requestsAfter-requests), 0, "")
	// Every admission must be logged. Without a log line for each, the rates would be higher.
	r.AtLeast("P1", "warm and pinned: lines of the log ÷ admissions",
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
	// warmRound has the loads of one round. They ran one after another.
	warmRound  struct{ raw, floor, warm, pinned load }
	warmRounds []warmRound
)

func (st *stage) warmRound(ctx context.Context, cached, pinned [][]byte) (w warmRound, err error) {
	for _, one := range []struct {
		result  *load
		to      *server
		reviews [][]byte
		patch   bool
	}{
		{&w.raw, st.raw, cached, true},
		{&w.floor, st.floor, cached, true},
		{&w.warm, st.tagpin, cached, true},
		{&w.pinned, st.tagpin, pinned, false},
	} {
		if *one.result, err = st.run(ctx, one.to, one.reviews, one.patch, st.duration); err != nil {
			return w, err
		}
	}
	return w, nil
}

func (all warmRounds) admissions() int {
	n := 0
	for _, w := range all {
		n += w.warm.requests + w.pinned.requests
	}
	return n
}

// report adds the medians of the ratios of all rounds. The ratios compare loads of the same round,
// because other programs on the machine slow all of them down alike.
func (all warmRounds) report(r *report.Report) {
	for _, w := range all {
		r.Sample("Warm", append(w.warm.values(),
			report.Of(w.rate(), "rate/floor"),
			report.Of(w.tail(), "p99/floor"))...)
		r.Sample("Pinned", append(w.pinned.values(),
			report.Of(w.pinnedRate(), "rate/floor"))...)
		r.Sample("Floor", w.floor.values()...)
		r.Sample("Raw", w.raw.values()...)
	}
	r.AtLeast("P1", "warm: requests/s ÷ floor's", all.median(warmRound.rate), 1.8,
		"k8s-digester, Kyverno 0.07 (no registry latency), 0.013 (20 ms)")
	r.AtLeast("P3", "all pinned: requests/s ÷ floor's", all.median(warmRound.pinnedRate), 1, "")
	r.AtMost("P2", "warm: p99 ÷ floor's", all.median(warmRound.tail), 1, "k8s-digester, Kyverno 6")
	if all[0].warm.cpu == 0 {
		const why = "needs Linux, which counts the processor time of other processes"
		r.Missing("P1", "warm: processor time a request ÷ floor's", why)
		r.Missing("P15", "warm: processor time a request ÷ raw's", why)
		return
	}
	r.AtMost("P1", "warm: processor time a request ÷ floor's", all.median(warmRound.cost), 0.55, "")
	r.AtMost("P15", "warm: processor time a request ÷ raw's", all.median(warmRound.rawCost), 2.2, "")
}

func (w warmRound) rate() float64       { return w.warm.perSecond / w.floor.perSecond }
func (w warmRound) pinnedRate() float64 { return w.pinned.perSecond / w.floor.perSecond }
func (w warmRound) tail() float64       { return float64(w.warm.p99) / float64(w.floor.p99) }
func (w warmRound) cost() float64       { return w.warm.cost() / w.floor.cost() }
func (w warmRound) rawCost() float64    { return w.warm.cost() / w.raw.cost() }

// median returns the median of a figure of all rounds.
func (all warmRounds) median(figure func(warmRound) float64) float64 {
	var figures []float64
	for _, w := range all {
		figures = append(figures, figure(w))
	}
	return report.Median(figures)
}

func (l load) values() []report.Value {
	v := []report.Value{report.Of(l.perSecond, "req/s"), report.Of(ms(l.p99), "p99-ms")}
	if l.cpu > 0 {
		v = append(v, report.Of(l.cost(), "cpu-µs/req"))
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
