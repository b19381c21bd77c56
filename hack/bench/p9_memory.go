// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tagpin/tagpin/hack/bench/report"
)

// memory measures row P9: the resident memory of tagpin-webhook at rest, with a large cache that
// is full, and after a million references with a cache of the default size.
func memory(ctx context.Context, st *stage, r *report.Report) error {
	some, all := 100_000, 1_000_000
	if st.quick {
		some, all = 20_000, 60_000
	}
	small, err := st.startTagpin(ctx, "small", defaultSize)
	if err != nil {
		return err
	}
	large, err := st.startTagpin(ctx, "large", some)
	if err != nil {
		return err
	}
	rest, err := small.resident(ctx)
	if err != nil {
		return err
	}
	if err := st.resolveMany(ctx, large, 0, some); err != nil {
		return err
	}
	full, err := large.resident(ctx)
	if err != nil {
		return err
	}
	if err := st.resolveMany(ctx, small, 0, some); err != nil {
		return err
	}
	before, err := small.resident(ctx)
	if err != nil {
		return err
	}
	if err := st.resolveMany(ctx, small, some, all); err != nil {
		return err
	}
	after, err := small.resident(ctx)
	if err != nil {
		return err
	}
	r.Sample("Memory",
		report.Of(rest, "rest-MiB"),
		report.Of(full, "full-MiB"),
		report.Of(before, "before-MiB"),
		report.Of(after, "after-MiB"))
	r.AtMost("P9", "resident at rest: MiB", rest, 40, "Kyverno 157")
	r.AtMost("P9", fmt.Sprintf("resident with %d cached references: MiB", some), full, 100,
		"k8s-digester 62 under load")
	r.AtMost("P9", fmt.Sprintf("resident after %d references through a cache of 10,000 ÷ after %d",
		all, some), after/before, 1.1, "")
	return nil
}

// resolveMany sends reviews of Pods with many containers, so that the server pins the tags with the
// numbers from (inclusive) to until (exclusive).
func (st *stage) resolveMany(ctx context.Context, to *server, from, until int) error {
	const containers, concurrency = 250, 4
	var next atomic.Int64
	next.Store(int64(from))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for namespace := range concurrency {
		wg.Go(func() {
			for ctx.Err() == nil {
				first := int(next.Add(containers)) - containers
				if first >= until {
					return
				}
				body, err := st.largeReview(namespace, first, first+containers)
				if err == nil {
					err = st.admitted(ctx, to, body)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// anyImage returns the image with a number, of those that need not be pushed.
func (st *stage) anyImage(i int) string {
	return fmt.Sprintf("%s/%s:t%d", st.registry, anything, i)
}

// largeReview returns a review of a Pod with a container for each number.
func (st *stage) largeReview(namespace, from, until int) ([]byte, error) {
	var containers []any
	for i := from; i < until; i++ {
		containers = append(containers, values{"name": fmt.Sprint("c", i), "image": st.anyImage(i)})
	}
	kind := values{"version": "v1", "kind": "Pod"}
	resource := values{"version": "v1", "resource": "pods"}
	return json.Marshal(values{
		"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
		"request": values{
			"uid": fmt.Sprint(from), "kind": kind, "resource": resource,
			"namespace": fmt.Sprint("bench", namespace), "operation": "CREATE",
			"object": values{
				"apiVersion": "v1", "kind": "Pod", "metadata": values{"name": "p"},
				"spec": values{"containers": containers},
			},
		},
	})
}

// resident returns the resident memory of a server after a garbage collection, in MiB.
func (s *server) resident(ctx context.Context) (float64, error) {
	url := "http://" + s.pprof + "/debug/pprof/heap?gc=1"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if err := download(req, os.DevNull); err != nil {
		return 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
	if err != nil {
		return 0, err
	}
	return parseResident(string(status))
}

// parseResident returns the field VmRSS of proc_pid_status(5) in MiB.
func parseResident(status string) (float64, error) {
	_, rest, ok := strings.Cut(status, "\nVmRSS:")
	fields := strings.Fields(rest)
	if !ok || len(fields) == 0 {
		return 0, errors.New("the status of the process has no VmRSS")
	}
	kib, err := strconv.Atoi(fields[0])
	return float64(kib) / 1024, err
}
