// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// histogram has the counts of a Prometheus histogram by the upper bounds of its buckets. A count
// includes those of the lower buckets.
type histogram map[float64]float64

// add adds the buckets that a page of metrics has of a histogram, with any labels.
func (h histogram) add(page, name string) error {
	for line := range strings.Lines(page) {
		rest, found := strings.CutPrefix(line, name+"_bucket{")
		if !found {
			continue
		}
		_, rest, _ = strings.Cut(rest, `le="`)
		bound, rest, _ := strings.Cut(rest, `"`)
		_, value, _ := strings.Cut(rest, "} ")
		le, errBound := strconv.ParseFloat(bound, 64)
		n, errValue := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if errBound != nil || errValue != nil {
			return fmt.Errorf("bucket %q: it has no number", line)
		}
		h[le] += n
	}
	return nil
}

// since returns the counts since an earlier time.
func (h histogram) since(before histogram) histogram {
	diff := histogram{}
	for le, n := range h {
		diff[le] = n - before[le]
	}
	return diff
}

// quantile estimates a quantile as Prometheus does: evenly within a bucket. It returns NaN if the
// histogram is empty, and the last finite bound for what is above it.
func (h histogram) quantile(q float64) float64 {
	wanted := q * h[math.Inf(1)]
	if wanted == 0 {
		return math.NaN()
	}
	lower, below := 0.0, 0.0
	for _, le := range slices.Sorted(maps.Keys(h)) {
		n := h[le]
		if n >= wanted {
			if math.IsInf(le, 1) {
				return lower
			}
			return lower + (le-lower)*(wanted-below)/(n-below)
		}
		lower, below = le, n
	}
	return lower
}
