// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func example() *Report {
	r := &Report{}
	r.AtMost("P15", "processor time", 3.9, 2.2, "")
	r.AtLeast("P1", "rate", 1.793, 1.8, "peer 0.07")
	r.AtMost("P2", "tail", 1, 1, "")
	r.AtMost("P7", "requests", 0.0104, 0.02, "")
	r.Missing("P16", "memory", "needs root")
	r.Sample("Warm", Value{8000.5, "req/s"}, Value{1e9, "p99-ms"})
	r.SampleOf("Scan", 7, Value{12, "ns/op"})
	return r
}

func TestPrint(t *testing.T) {
	r := example()
	r.Sort()
	var table strings.Builder
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(table.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"row what figure goal peers",
		"P1 rate 1.79 ≥ 1.8 MISSED peer 0.07",
		"P2 tail 1 ≤ 1 ok",
		"P7 requests 0.0104 ≤ 0.02 ok",
		"P15 processor time 3.9 ≤ 2.2 MISSED",
		"P16 memory - - not measured: needs root",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Print (-want +got):\n%s", diff)
	}
}

func TestWrite(t *testing.T) {
	var text strings.Builder
	if err := example().Write(&text); err != nil {
		t.Fatal(err)
	}
	_, got, _ := strings.Cut(text.String(), "hack/bench\n")
	const want = `Unit p99-ms better=lower
Unit req/s better=higher
BenchmarkWarm 1 8000.5 req/s 1000000000 p99-ms
BenchmarkScan 7 12 ns/op
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Write (-want +got):\n%s", diff)
	}
}

// TestAsJSON checks that a program of another module can hand its part over.
func TestAsJSON(t *testing.T) {
	data, err := json.Marshal(example())
	if err != nil {
		t.Fatal(err)
	}
	var part, all Report
	if err := json.Unmarshal(data, &part); err != nil {
		t.Fatal(err)
	}
	all.Add(part)
	if diff := cmp.Diff(*example(), all); diff != "" {
		t.Errorf("a report that was encoded and added (-want +got):\n%s", diff)
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
		if got := Median(tt.in); got != tt.want {
			t.Errorf("Median(%v) = %v, want %v", tt.in, got, tt.want)
		}
	}
}
