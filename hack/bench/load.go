// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// inFlight is the number of concurrent requests of a load, each on a connection of its own.
const inFlight = 8

// load is the result of sending requests to a server for some time.
type load struct {
	requests  int
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // processor time of the server
}

// cost returns the server's processor time for one request, in microseconds.
func (l load) cost() float64 { return l.cpu.Seconds() * 1e6 / float64(l.requests) }

// run sends the reviews in turn until d has passed, with inFlight requests at a time. It stops at
// the first error.
func (st *stage) run(
	ctx context.Context, to *server, reviews [][]byte, patch bool, d time.Duration,
) (load, error) {
	requests := make([]request, len(reviews))
	for i, review := range reviews {
		requests[i] = newRequest(to.Address, review)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([][]time.Duration, inFlight)
	before, err := processorTime(to.PID)
	if err != nil {
		return load{}, err
	}
	begin := time.Now()
	var wg sync.WaitGroup
	for w, c := range to.callers {
		wg.Go(func() {
			for i := w; time.Since(begin) < d && ctx.Err() == nil; i += inFlight {
				sent := time.Now()
				if err := c.call(ctx, requests[i%len(requests)], st.reviews.Add(1), patch); err != nil {
					cancel(err)
					return
				}
				times[w] = append(times[w], time.Since(sent))
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	if ctx.Err() != nil {
		return load{}, context.Cause(ctx)
	}
	after, err := processorTime(to.PID)
	if err != nil {
		return load{}, err
	}
	all := slices.Concat(times...)
	if len(all) == 0 {
		return load{}, errors.New("the duration is too short for one request")
	}
	return load{
		requests: len(all), perSecond: float64(len(all)) / took.Seconds(),
		p99: percentile(all, 99), cpu: after - before,
	}, nil
}

// percentile returns the duration that percent of all durations don't exceed.
func percentile(all []time.Duration, percent int) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}

// admitted sends a review by net/http's client, and checks the response, which must have a patch.
func (st *stage) admitted(ctx context.Context, to *server, review []byte) error {
	status, body, err := st.post(ctx, to, review)
	if err != nil {
		return err
	}
	return checkAnswer(status, body, nil, true)
}

// admittedConcurrently sends a review n times concurrently.
func (st *stage) admittedConcurrently(ctx context.Context, to *server, body []byte, n int) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = st.admitted(ctx, to, body) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// post sends a review by net/http's client.
func (st *stage) post(
	ctx context.Context, to *server, review []byte,
) (status int, body []byte, err error) {
	url := "https://" + to.Address + reviewPath
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(review))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := st.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, errors.Join(err, resp.Body.Close())
}
