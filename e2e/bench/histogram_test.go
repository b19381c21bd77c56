// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"testing"
)

func page(a, b, c string) string {
	return `# TYPE h histogram
h_bucket{mode="enforce",le="0.1"} ` + a + `
h_bucket{mode="enforce",le="0.2"} ` + b + `
h_bucket{mode="enforce",le="+Inf"} ` + c + `
h_bucket{mode="keep",le="0.1"} 0
h_bucket{mode="keep",le="0.2"} 0
h_bucket{mode="keep",le="+Inf"} 0
h_sum{mode="enforce"} 3
other_bucket{le="0.1"} 1000
`
}

func TestHistogram(t *testing.T) {
	before, after := histogram{}, histogram{}
	if err := before.add(page("5", "5", "5"), "h"); err != nil {
		t.Fatal(err)
	}
	for range 2 { // two replicas
		if err := after.add(page("50", "100", "101"), "h"); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name string
		in   histogram
		q    float64
		want float64
	}{
		{"in the first bucket", after, 0.25, 0.0505},
		{"in the second bucket", after, 0.75, 0.1515},
		{"above the last bound", after, 0.999, 0.2},
		{"since", after.since(before), 1 - 12.0/197, 0.1 + 0.1*90/100},
	} {
		if got := tt.in.quantile(tt.q); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: quantile(%v) = %v, want %v", tt.name, tt.q, got, tt.want)
		}
	}
	if got := before.since(before).quantile(0.99); !math.IsNaN(got) {
		t.Errorf("quantile of an empty histogram = %v, want NaN", got)
	}
	if err := (histogram{}).add(`h_bucket{le="x"} 1`, "h"); err == nil {
		t.Error("add of a bucket without a bound = nil, want an error")
	}
}
