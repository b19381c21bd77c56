// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tagpin/tagpin/hack/bench/report"
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

func TestInvalidFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-rows", "P99"},
		{"-rows", "P1,warm"},
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

func TestRowsAreKnown(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	measured := map[string]bool{}
	for _, g := range groups() {
		for _, row := range g.rows {
			measured[row] = true
			if !strings.Contains(string(readme), "\n| "+row+" | ") {
				t.Errorf("README.md says nothing about row %s", row)
			}
		}
	}
	for i := 1; i <= 18; i++ {
		if row := fmt.Sprint("P", i); !measured[row] {
			t.Errorf("row %s is not measured", row)
		}
	}
}

func TestWanted(t *testing.T) {
	rows := []string{"P7", "P8", "P10"}
	for _, tt := range []struct{ asked, want []string }{
		{nil, rows},
		{[]string{"P10", "P1"}, []string{"P10"}},
		{[]string{"P1"}, []string{}},
	} {
		if got := (settings{rows: tt.asked}).wanted(rows); !slices.Equal(got, tt.want) {
			t.Errorf("wanted with -rows %q = %q, want %q", tt.asked, got, tt.want)
		}
	}
}

// TestFormerFile checks that the file of the former run is kept, and compared with the new one.
func TestFormerFile(t *testing.T) {
	s := settings{out: filepath.Join(t.TempDir(), "x.txt"), benchstat: "go"}
	for i := range 2 {
		if err := s.compare(t.Context(), io.Discard); err != nil {
			t.Errorf("compare before there are two files = %v", err)
		}
		r := &report.Report{}
		r.Sample("Warm", report.Of(float64(i), "req/s"))
		if err := s.write(r); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{s.old(): " 0 req/s\n", s.out: " 1 req/s\n"} {
		text, err := os.ReadFile(file)
		if err != nil || !strings.HasSuffix(string(text), want) {
			t.Errorf("%s = %q, %v, want the end %q", file, text, err, want)
		}
	}
	// The go command is no benchstat. Its error names what it was asked to compare.
	err := s.compare(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), s.old()) {
		t.Errorf("compare = %v, want an error that names %s", err, s.old())
	}
}

func TestQuickWritesNothing(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "bench.txt"},
		{[]string{"-quick"}, ""},
		{[]string{"-rows", "P1,P15"}, ""},
		{[]string{"-quick", "-o", "x.txt"}, "x.txt"},
	} {
		s, err := parseFlags(tt.args, io.Discard)
		if err != nil || s.out != tt.want {
			t.Errorf("parseFlags(%q) writes %q, %v, want %q", tt.args, s.out, err, tt.want)
		}
	}
}

func TestExponent(t *testing.T) {
	small := &point{size: 10, costs: []float64{5}}
	linear := exponent(small, &point{size: 100, costs: []float64{50}})
	flat := exponent(small, &point{size: 100, costs: []float64{5}})
	if math.Abs(linear-1) > 1e-9 || flat != 0 {
		t.Errorf("exponents = %v, %v, want 1 and 0", linear, flat)
	}
}

func TestLargeObject(t *testing.T) {
	const size = 300 << 10
	body, err := largeObject(size, "registry.example/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if len(body) < size*95/100 || len(body) > size*105/100 {
		t.Errorf("size of the review = %d, want about %d", len(body), size)
	}
	if !json.Valid(body) {
		t.Error("the review is not valid JSON")
	}
}
