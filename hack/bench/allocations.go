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

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// The goal is few: what there is, and a little more, so that growth is seen.
const (
	mostScan      = 32
	mostAdmission = 200
	mostHit       = 4
)

// allocations is P11, in this process and without a network.
func allocations(ctx context.Context, _ *stage, _ settings, r *report) error {
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
	if err := scanning(envelope.Request.Object, r); err != nil {
		return err
	}
	cache := &resolve.Cache{Answers: &resolve.Answers{}, Next: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
		return resolve.Result{Digest: digest.FromString(app)}, nil
	})}
	handler := &admit.Handler{Pinner: &pin.Pinner{Resolver: cache}, Table: new(workload.Table), Mode: pin.Enforce}
	admission, err := allocated(r, "Admission", func() error { return serve(ctx, handler, body) })
	if err != nil {
		return err
	}
	least := newFloor()
	floor, err := allocated(r, "FloorAdmission", func() error { return serve(ctx, least, body) })
	if err != nil {
		return err
	}
	known := resolve.Request{Ref: ref.MustParse(app)}
	hit, err := allocated(r, "Hit", func() error {
		_, err := cache.Resolve(ctx, known)
		return err
	})
	if err != nil {
		return err
	}
	r.count("P11", "admission of 2 containers, all cached: allocations", admission.AllocsPerOp(), mostAdmission, fmt.Sprintf("floor %d", floor.AllocsPerOp()))
	r.count("P11", "cache hit: allocations", hit.AllocsPerOp(), mostHit, "")
	return nil
}

// scanning compares the scan of an object with json.Valid of it, in turns.
func scanning(object []byte, r *report) error {
	var ratios []float64
	var scan testing.BenchmarkResult
	for range 3 {
		var err error
		scan, err = allocated(r, "Scan", func() error {
			_, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, object)
			return err
		})
		if err != nil {
			return err
		}
		valid, err := allocated(r, "Valid", func() error {
			if !json.Valid(object) {
				return errors.New("no JSON")
			}
			return nil
		})
		if err != nil {
			return err
		}
		ratios = append(ratios, float64(scan.NsPerOp())/float64(valid.NsPerOp()))
	}
	r.atMost("P11", "scan of a 3 KB Pod: time ÷ json.Valid's", median(ratios), 2, "")
	r.count("P11", "scan of a 3 KB Pod: allocations", scan.AllocsPerOp(), mostScan, "")
	return nil
}

// allocated benchmarks f for about a second.
func allocated(r *report, name string, f func() error) (testing.BenchmarkResult, error) {
	var err error
	result := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			err = errors.Join(err, f())
		}
	})
	r.sample(name, result.N, value{float64(result.T.Nanoseconds()) / float64(result.N), "ns/op"},
		value{float64(result.AllocedBytesPerOp()), "B/op"}, value{float64(result.AllocsPerOp()), "allocs/op"})
	return result, err
}

// serve gives a review to a handler. What it allocates itself is the same for every handler.
func serve(ctx context.Context, h http.Handler, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/enforce?timeout=10s", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	w := answer{header: http.Header{}}
	h.ServeHTTP(&w, r)
	if !w.patched {
		return errors.New("the answer is no patch")
	}
	return nil
}

// answer is a ResponseWriter that looks whether there is a patch.
type answer struct {
	header  http.Header
	patched bool
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(int)     {}
func (a *answer) Write(b []byte) (int, error) {
	a.patched = a.patched || bytes.Contains(b, []byte(`"patch":`))
	return len(b), nil
}
