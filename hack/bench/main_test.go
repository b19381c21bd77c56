// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
)

func TestReview(t *testing.T) {
	body, err := review(true, "registry.example:5000/warm/app1:1.4",
		"registry.example:5000/warm/app2:1.4")
	if err != nil {
		t.Fatal(err)
	}
	var rv admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &rv); err != nil {
		t.Fatal(err)
	}
	if strings.Index(string(body), `"operation":`) > strings.Index(string(body), `"object":`) {
		t.Error("the operation comes after the object, want it before, as an API server writes it")
	}
	if size := len(rv.Request.Object.Raw); size < 2700 || size > 3300 {
		t.Errorf("size of the Pod = %d bytes, want about 3 KB", size)
	}
	var p corev1.Pod
	decoder := json.NewDecoder(strings.NewReader(string(rv.Request.Object.Raw)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Errorf("decoding the Pod: %v", err)
	}
	if len(p.Spec.Containers) != 2 || len(p.OwnerReferences) != 1 {
		t.Errorf("%d containers, %d owners, want 2 and 1", len(p.Spec.Containers), len(p.OwnerReferences))
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 2}, 2},
		{[]float64{4, 1, 100, 2}, 3},
	} {
		if got := median(tt.in); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestReport(t *testing.T) {
	r := &report{}
	r.atLeast("P1", "rate", 0.899, 0.9, "peer")
	r.atMost("P2", "tail", 1.3, 1.3, "")
	r.count("P6", "requests", 2, 1, "")
	r.sample("Warm", 1, value{8000.5, "req/s"}, value{1e9, "p99-ms"})
	var table strings.Builder
	if err := r.print(&table); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(table.String()) {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"id", "what", "figure", "goal", "peers"},
		{"P1", "rate", "0.90", "≥", "0.9", "peer", "short"},
		{"P2", "tail", "1.30", "≤", "1.3", "ok"},
		{"P6", "requests", "2", "≤", "1", "short"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	file := filepath.Join(t.TempDir(), "bench.txt")
	if err := r.write(file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(text)[strings.Index(string(text), "Benchmark"):])
	if diff := cmp.Diff([]string{"1", "8000.5", "req/s", "1000000000", "p99-ms"}, fields[1:]); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
}

func TestInvalidFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-run", "("},
		{"-run", "P99"},
		{"-rounds", "0"},
		{"-duration", "0"},
		{"-duration", "-1s"},
		{"P1"},
		{"-nonsense"},
	} {
		if _, err := parseFlags(args, io.Discard); err == nil {
			t.Errorf("parseFlags(%q) = nil error, want one", args)
		}
	}
}

func TestParseCPU(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"7 (tagpin-webhook) S 1 7 7 0 -1 4194304 100 0 0 0 125 30 0 0 20 0 9 0 1 2": 1550 * time.Millisecond,
		"7 (odd) name) S 1 7 7 0 -1 4194304 100 0 0 0 2 1 0 0 20 0 9 0 1 2":         30 * time.Millisecond,
		"7 (short) S 1": 0,
		"":              0,
	} {
		if got := parseCPU(stat); got != want {
			t.Errorf("parseCPU(%q) = %v, want %v", stat, got, want)
		}
	}
}

func TestParseResident(t *testing.T) {
	got, err := parseResident("Name:\tx\nVmHWM:\t 99 kB\nVmRSS:\t  2560 kB\n")
	if err != nil || got != 2.5 {
		t.Errorf("parseResident = %v, %v, want 2.5", got, err)
	}
	if _, err := parseResident("Name:\tx\n"); err == nil {
		t.Error("parseResident without VmRSS = nil error, want one")
	}
}

// TestStopTrace checks that concurrent requests count as one round trip, in any order of responses.
func TestStopTrace(t *testing.T) {
	at := func(from, to int) span { return span{time.Unix(int64(from), 0), time.Unix(int64(to), 0)} }
	for want, spans := range [][]span{
		{},
		{at(0, 10), at(1, 9), at(2, 12)},
		{at(0, 10), at(3, 13), at(13, 20)},
		{at(20, 30), at(0, 10), at(10, 20), at(11, 21)},
	} {
		i := &images{spans: spans}
		if got := i.stopTrace(); got != want {
			t.Errorf("stopTrace of %v = %d, want %d", spans, got, want)
		}
	}
}
