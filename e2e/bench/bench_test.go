// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"slices"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	times := []time.Duration{4, 1, 3, 2}
	for percent, want := range map[int]time.Duration{99: 4, 75: 3, 50: 2, 1: 1} {
		if got := percentile(times, percent); got != want {
			t.Errorf("percentile(%v, %d) = %d, want %d", times, percent, got, want)
		}
	}
}

func TestAdmissions(t *testing.T) {
	const log = `{"level":"info","msg":"admission","namespace":"victim","ms":3}
{"level":"info","msg":"admission","namespace":"other","ms":900}
no JSON
{"level":"info","msg":"started","namespace":"victim"}
{"level":"info","msg":"admission","namespace":"victim","ms":7}
`
	got := admissions(log, "victim")
	want := []time.Duration{3 * time.Millisecond, 7 * time.Millisecond}
	if !slices.Equal(got, want) {
		t.Errorf("admissions = %v, want %v", got, want)
	}
}
