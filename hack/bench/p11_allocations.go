// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"

	"github.com/tagpin/tagpin/hack/bench/baseline"
	"github.com/tagpin/tagpin/hack/bench/report"
)

// Goals for the numbers of allocations. They are slightly above the current numbers, so that growth
// is noticed.
const (
	maxScanAllocs      = 32
	maxAdmissionAllocs = 200
	maxHitAllocs       = 4
)

// allocations measures row P11 in this process, without a network.
func allocations(ctx context.Context, _ *stage, r *report.Report) error {
	const app, proxy = "registry.example/team/app:1.2", "registry.example/team/proxy:1.2"
	body, err := review(true, app, proxy)
	if err != nil {
		return err
	}
	var envelope struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return err
	}
	if err := measureScan(envelope.Request.Object, r); err != nil {
		return err
	}
	cache := &resolve.Cache{
		Answers: &resolve.Answers{},
		Limits:  resolve.Limits{TTL: time.Minute},
		Client:  &registry.Client{},
		Next: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
			return resolve.Result{Digest: digest.FromString(app)}, nil
		}),
	}
	handler := &admit.Handler{
		Pinner:      &pin.Pinner{Resolver: cache},
		Mode:        policy.Enforce,
		Keychain:    func(string, workload.Identity) keychain.Keychain { return nil },
		Metrics:     admit.NewMetrics(prometheus.NewRegistry()),
		Reviews:     new(fair.Groups),
		Images:      new(fair.Room),
		SlowReviews: new(fair.Room),
		Began:       func(*http.Request) time.Time { return time.Now() },
		WhenLost:    func(*http.Request, func()) {},
	}
	admission, err := benchmark(r, "Admission", func() error { return serve(ctx, handler, body) })
	if err != nil {
		return err
	}
	floorHandler := baseline.NewFloor()
	floor, err := benchmark(r, "FloorAdmission", func() error {
		return serve(ctx, floorHandler, body)
	})
	if err != nil {
		return err
	}
	cached := resolve.Request{Ref: ref.MustParse(app)}
	hit, err := benchmark(r, "Hit", func() error {
		_, err := cache.Resolve(ctx, cached)
		return err
	})
	if err != nil {
		return err
	}
	r.AtMost("P11", "admission of 2 containers, all cached: allocations",
		float64(admission.AllocsPerOp()), maxAdmissionAllocs,
		fmt.Sprintf("floor %d", floor.AllocsPerOp()))
	r.AtMost("P11", "cache hit: allocations", float64(hit.AllocsPerOp()), maxHitAllocs, "")
	return nil
}

// measureScan compares the time of a scan of an object with that of json.Valid. It runs them
// alternately.
func measureScan(object []byte, r *report.Report) error {
	var ratios []float64
	var scan testing.BenchmarkResult
	for range 3 {
		var err error
		scan, err = benchmark(r, "Scan", func() error {
			_, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, object)
			return err
		})
		if err != nil {
			return err
		}
		valid, err := benchmark(r, "Valid", func() error {
			if !json.Valid(object) {
				return errors.New("invalid JSON")
			}
			return nil
		})
		if err != nil {
			return err
		}
		ratios = append(ratios, float64(scan.NsPerOp())/float64(valid.NsPerOp()))
	}
	r.AtMost("P11", "scan of a 3 KB Pod: time ÷ json.Valid's", report.Median(ratios), 2, "")
	r.AtMost("P11", "scan of a 3 KB Pod: allocations", float64(scan.AllocsPerOp()), maxScanAllocs, "")
	return nil
}

// benchmark benchmarks f for about a second.
func benchmark(r *report.Report, name string, f func() error) (testing.BenchmarkResult, error) {
	var err error
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			err = errors.Join(err, f())
		}
	})
	r.SampleOf(name, result.N,
		report.Of(float64(result.T.Nanoseconds())/float64(result.N), "ns/op"),
		report.Of(float64(result.AllocedBytesPerOp()), "B/op"),
		report.Of(float64(result.AllocsPerOp()), "allocs/op"))
	return result, err
}

// serve calls a handler with a review. Its own allocations are the same for every handler.
func serve(ctx context.Context, h http.Handler, body []byte) error {
	const url = "/enforce?timeout=10s"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	w := responseWriter{header: http.Header{}}
	h.ServeHTTP(&w, r)
	if !w.patched {
		return errors.New("the response has no patch")
	}
	return nil
}

// responseWriter is an http.ResponseWriter that only checks whether the response has a patch.
type responseWriter struct {
	header  http.Header
	patched bool
}

func (w *responseWriter) Header() http.Header { return w.header }
func (w *responseWriter) WriteHeader(int)     {}
func (w *responseWriter) Write(b []byte) (int, error) {
	w.patched = w.patched || bytes.Contains(b, []byte(`"patch":`))
	return len(b), nil
}
