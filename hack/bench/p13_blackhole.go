// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/tagpin/tagpin/hack/bench/report"
)

const (
	admissionsPerSecond = 200
	// darkEvery is the share of admissions that name the blackholed registry: one of five.
	darkEvery = 5
)

// blackhole measures row P13: how much slower other admissions become when some name a registry
// whose connections are never accepted. All of them are of one namespace.
func blackhole(ctx context.Context, st *stage, r *report.Report) error {
	cached, _, err := st.warmPods(ctx)
	if err != nil {
		return err
	}
	dark, closeDark, err := newDarkHost(ctx)
	if err != nil {
		return err
	}
	defer closeDark()
	named := make([][]byte, 20)
	for i := range named {
		if named[i], err = review(true, fmt.Sprintf("%s/dark/app%d:1", dark, i)); err != nil {
			return err
		}
	}
	rounds, d := 3, 12*st.duration
	if st.quick {
		rounds = 1
	}
	if _, err := st.paced(ctx, cached, nil, d/4); err != nil { // warms up
		return err
	}
	var ratios []float64
	for range rounds {
		without, err := st.paced(ctx, cached, nil, d)
		if err != nil {
			return err
		}
		with, err := st.paced(ctx, cached, named, d)
		if err != nil {
			return err
		}
		ratio := float64(with) / float64(without)
		ratios = append(ratios, ratio)
		r.Sample("Blackhole", report.Of(ms(without), "without-p99-ms"),
			report.Of(ms(with), "p99-ms"), report.Of(ratio, "p99/without"))
	}
	r.AtMost("P13", "a fifth of 200/s names a blackholed registry: p99 of the others ÷ without",
		report.Median(ratios), 1.5, "")
	return nil
}

// paced starts admissions at a fixed rate, whether or not earlier ones have ended. It returns the
// p99 of those whose images are cached, each counted from the time at which it was due. Every fifth
// admission is one of dark, if there are any, and else is left out.
func (st *stage) paced(
	ctx context.Context, cached, dark [][]byte, d time.Duration,
) (time.Duration, error) {
	n := int(d.Seconds() * admissionsPerSecond)
	times := make([]time.Duration, n) // those of dark stay zero
	errs := make([]error, n)
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / admissionsPerSecond)
		time.Sleep(time.Until(due))
		switch {
		case i%darkEvery != 0:
			wg.Go(func() {
				errs[i] = st.admitted(ctx, st.tagpin, cached[i%len(cached)])
				times[i] = time.Since(due)
			})
		case dark != nil:
			wg.Go(func() { errs[i] = st.answered(ctx, st.tagpin, dark[i/darkEvery%len(dark)]) })
		}
	}
	wg.Wait()
	var others []time.Duration
	for i, took := range times {
		if i%darkEvery != 0 {
			others = append(others, took)
		}
	}
	if len(others) == 0 {
		return 0, errors.New("the duration is too short for one admission")
	}
	return percentile(others, 99), errors.Join(errs...)
}

// answered sends a review that may be denied, and returns an error if there is no answer to it.
func (st *stage) answered(ctx context.Context, to *server, review []byte) error {
	status, body, err := st.post(ctx, to, review)
	if err == nil && (status != http.StatusOK || !bytes.Contains(body, []byte(`"allowed":`))) {
		err = fmt.Errorf("unexpected response: %d: %.300s", status, body)
	}
	return err
}
