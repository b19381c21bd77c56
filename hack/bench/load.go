// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// admitted sends a review. It returns an error if the object is denied, or if the response has a
// patch although patch is false, or the other way round.
func (st *stage) admitted(ctx context.Context, to server, body []byte, patch bool) error {
	url := "https://" + to.Address + "/enforce?timeout=10s"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := st.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	allowed := bytes.Contains(text, []byte(`"allowed":true`))
	patched := bytes.Contains(text, []byte(`"patch":`))
	if resp.StatusCode != http.StatusOK || !allowed || patched != patch {
		return fmt.Errorf("unexpected response: %s: %.300s", resp.Status, text)
	}
	return nil
}

// admittedConcurrently sends a review n times concurrently.
func (st *stage) admittedConcurrently(
	ctx context.Context, to server, body []byte, n int,
) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = st.admitted(ctx, to, body, true) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inFlight is the number of concurrent requests of a load.
const inFlight = 8

// load is the result of sending requests to a server for some time.
type load struct {
	requests  int
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // processor time of the server
}

// run sends the bodies in turn until d has passed, with inFlight requests at a time. It stops at
// the first error.
func (st *stage) run(
	ctx context.Context, to server, bodies [][]byte, patch bool, d time.Duration,
) (load, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([][]time.Duration, inFlight)
	before, begin := to.cpu(), time.Now()
	var wg sync.WaitGroup
	for w := range inFlight {
		wg.Go(func() {
			for i := w; time.Since(begin) < d; i += inFlight {
				sent := time.Now()
				if err := st.admitted(ctx, to, bodies[i%len(bodies)], patch); err != nil {
					cancel(err)
					return
				}
				times[w] = append(times[w], time.Since(sent))
			}
		})
	}
	wg.Wait()
	took, cpu := time.Since(begin), to.cpu()-before
	if ctx.Err() != nil {
		return load{}, context.Cause(ctx)
	}
	all := slices.Sorted(slices.Values(slices.Concat(times...)))
	if len(all) == 0 {
		return load{}, errors.New("the duration is too short for one request")
	}
	return load{len(all), float64(len(all)) / took.Seconds(), all[len(all)*99/100], cpu}, nil
}
