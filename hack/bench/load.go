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
	"strings"
	"sync"
	"time"
)

// review is the creation of a Pod of about 1.5 KB a container, by a controller or by a person.
func review(byController bool, images ...string) []byte {
	env := strings.TrimSuffix(strings.Repeat(`{"name":"SOME_VARIABLE","value":"some value of it"},`, 20), ",")
	var containers []string
	for i, image := range images {
		containers = append(containers, fmt.Sprintf(`{"name":"c%d","image":%q,"env":[%s]}`, i, image, env))
	}
	owners := ""
	if byController {
		owners = `,"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"app-5d9c","uid":"u","controller":true}]`
	}
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"5f2b1c9e","operation":"CREATE",
		"namespace":"bench","name":"app","kind":{"group":"","version":"v1","kind":"Pod"},"resource":{"group":"","version":"v1","resource":"pods"},
		"userInfo":{"username":"bench"},"object":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"app","labels":{"pod-template-hash":"5d9c"}%s},
		"spec":{"containers":[%s]}}}}`, owners, strings.Join(containers, ","))
}

// post sends a review and gives the answer, whose status is 200.
func (st *stage) post(ctx context.Context, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := st.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return answer, err
}

// admitted is post where the answer has to be a patch, or with patch false to have none.
func (st *stage) admitted(ctx context.Context, url string, body []byte, patch bool) error {
	answer, err := st.post(ctx, url, body)
	if err == nil && (!bytes.Contains(answer, []byte(`"allowed":true`)) || bytes.Contains(answer, []byte(`"patch":`)) != patch) {
		err = fmt.Errorf("unexpected answer: %.300s", answer)
	}
	return err
}

// inFlight is how many requests are under way at once.
const inFlight = 8

// load is what a round of requests took.
type load struct {
	perSecond float64
	p99       time.Duration
}

// run sends the bodies in turn for a time, always so many in flight.
func (st *stage) run(ctx context.Context, url string, bodies [][]byte, patch bool, d time.Duration) (load, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	times, errs := make([][]time.Duration, inFlight), make([]error, inFlight)
	begin := time.Now()
	var wg sync.WaitGroup
	for w := range inFlight {
		wg.Go(func() {
			for i := w; time.Since(begin) < d && errs[w] == nil; i += inFlight {
				sent := time.Now()
				if errs[w] = st.admitted(ctx, url, bodies[i%len(bodies)], patch); errs[w] != nil {
					cancel()
				}
				times[w] = append(times[w], time.Since(sent))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(times...)
	slices.Sort(all)
	return load{float64(len(all)) / time.Since(begin).Seconds(), all[len(all)*99/100]}, errors.Join(errs...)
}
