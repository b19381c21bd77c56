// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// figure is one line of the table.
type figure struct {
	id, what, value, goal, peers string
	met                          bool
}

// report collects figures for people and samples for benchstat.
type report struct {
	figures []figure
	samples strings.Builder
}

func (r *report) add(f figure) { r.figures = append(r.figures, f) }

// atLeast adds a figure whose goal is a minimum.
func (r *report) atLeast(id, what string, value, goal float64, peers string) {
	r.add(
		figure{id, what, fmt.Sprintf("%.2f", value), fmt.Sprintf("≥ %.1f", goal), peers, value >= goal},
	)
}

// atMost adds a figure whose goal is a maximum.
func (r *report) atMost(id, what string, value, goal float64, peers string) {
	r.add(
		figure{id, what, fmt.Sprintf("%.2f", value), fmt.Sprintf("≤ %.1f", goal), peers, value <= goal},
	)
}

// count adds a whole number whose goal is a maximum.
func (r *report) count(id, what string, value, goal int64, peers string) {
	text := strconv.FormatInt(value, 10)
	r.add(figure{id, what, text, fmt.Sprintf("≤ %d", goal), peers, value <= goal})
}

// value is a number and its unit.
type value struct {
	number float64
	unit   string
}

// sample adds a line in Go's benchmark format (golang.org/design/14313-benchmark-format).
func (r *report) sample(name string, iterations int, values ...value) {
	fmt.Fprintf(&r.samples, "Benchmark%s-%d %d", name, runtime.GOMAXPROCS(0), iterations)
	for _, v := range values {
		fmt.Fprintf(&r.samples, " %s %s", strconv.FormatFloat(v.number, 'f', -1, 64), v.unit)
	}
	r.samples.WriteByte('\n')
}

func (r *report) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "id\twhat\tfigure\tgoal\tpeers\t")
	for _, f := range r.figures {
		verdict := "ok"
		if !f.met {
			verdict = "short"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.id, f.what, f.value, f.goal, f.peers, verdict)
	}
	return t.Flush()
}

// head is the beginning of the file for benchstat. It describes units that benchstat does not know.
const head = `goos: %s
goarch: %s
pkg: github.com/tagpin/tagpin/hack/bench
Unit rate/floor better=higher
Unit req/s better=higher
Unit p99/floor better=lower
Unit cpu-µs/req better=lower
Unit time/roundtrip better=lower
`

func (r *report) write(file string) error {
	text := fmt.Sprintf(head, runtime.GOOS, runtime.GOARCH) + r.samples.String()
	return os.WriteFile(file, []byte(text), 0o644) //nolint:gosec // the file is not secret
}

// median returns the median of one or more values.
func median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
