// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/workload"
)

// allocations is P11, in this process and without a network.
func allocations(ctx context.Context, _ *stage, _ settings, r *report) error {
	body := review(true, "registry.example/team/app:1.2", "registry.example/team/proxy:1.2")
	var request struct {
		Request struct{ Object json.RawMessage }
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return err
	}
	object := request.Request.Object
	scan := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := new(workload.Table).Scan(workload.Kind{Kind: "Pod"}, object); err != nil {
				b.Fatal(err)
			}
		}
	})
	valid := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			json.Valid(object)
		}
	})
	cache := &resolve.Cache{Next: resolve.Func(func(context.Context, resolve.Request) (resolve.Result, error) {
		return resolve.Result{Digest: digest.FromString("x")}, nil
	})}
	handler := &admit.Handler{Pinner: &pin.Pinner{Resolver: cache}, Table: new(workload.Table), Mode: pin.Enforce}
	admission := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			req := httptest.NewRequestWithContext(ctx, http.MethodPost, "/enforce?timeout=10s", bytes.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			handler.ServeHTTP(httptest.NewRecorder(), req)
		}
	})
	hit := testing.Benchmark(func(b *testing.B) {
		req := resolve.Request{Ref: ref.MustParse("registry.example/team/app:1.2")}
		for b.Loop() {
			if _, err := cache.Resolve(ctx, req); err != nil {
				b.Fatal(err)
			}
		}
	})
	r.ratio("P11", "scan of a 3 KB Pod: time ÷ json.Valid's", float64(scan.NsPerOp())/float64(valid.NsPerOp()), 2, true, "")
	for _, a := range []struct {
		name, what string
		result     testing.BenchmarkResult
		most       int64 // what there is now and a little more: a goal to hold
	}{
		{"Scan", "scan of a 3 KB Pod", scan, 32},
		{"Admission", "admission of 2 containers, all cached", admission, 200},
		{"Hit", "cache hit", hit, 4},
	} {
		r.sample("Allocs"+a.name, float64(a.result.NsPerOp()), "ns/op", float64(a.result.AllocsPerOp()), "allocs/op", float64(a.result.AllocedBytesPerOp()), "B/op")
		r.add(figure{"P11", a.what + ": allocations", fmt.Sprint(a.result.AllocsPerOp()), fmt.Sprintf("≤ %d", a.most), "", a.result.AllocsPerOp() <= a.most})
	}
	return nil
}
