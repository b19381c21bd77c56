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

// admitted sends a review. The answer has to hold a patch, or with patch false none.
func (st *stage) admitted(ctx context.Context, to server, body []byte, patch bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to.url+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := st.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	allowed := bytes.Contains(answer, []byte(`"allowed":true`))
	if resp.StatusCode != http.StatusOK || !allowed || bytes.Contains(answer, []byte(`"patch":`)) != patch {
		return fmt.Errorf("unexpected answer: %s: %.300s", resp.Status, answer)
	}
	return nil
}

// together sends one review many times at once.
func (st *stage) together(ctx context.Context, to server, body []byte, n int) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = st.admitted(ctx, to, body, true) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// inFlight is how many requests of a load are under way at once.
const inFlight = 8

// load is what a round of requests took.
type load struct {
	requests  int
	perSecond float64
	p99       time.Duration
	cpu       time.Duration // of the server
}

// run sends the bodies in turn for a time, always so many in flight. The first error ends it.
func (st *stage) run(ctx context.Context, to server, bodies [][]byte, patch bool, d time.Duration) (load, error) {
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
		return load{}, errors.New("no time for one request")
	}
	return load{len(all), float64(len(all)) / took.Seconds(), all[len(all)*99/100], cpu}, nil
}
