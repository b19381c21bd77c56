// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// figure is one line of the table.
type figure struct {
	id, what, value, goal, peer string
	met                         bool
}

// report collects figures for people and samples for benchstat.
type report struct {
	figures []figure
	samples strings.Builder
}

func (r *report) add(f figure) { r.figures = append(r.figures, f) }

// sample is one line of Go's benchmark format: values and their units in turn.
func (r *report) sample(name string, valuesAndUnits ...any) {
	fmt.Fprintf(&r.samples, "Benchmark%s-%d 1", name, runtime.GOMAXPROCS(0))
	for i := 0; i+1 < len(valuesAndUnits); i += 2 {
		fmt.Fprintf(&r.samples, " %.4g %s", valuesAndUnits[i], valuesAndUnits[i+1])
	}
	r.samples.WriteByte('\n')
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\twhat\tfigure\tgoal\t\tpeers")
	for _, f := range r.figures {
		verdict := "met"
		if !f.met {
			verdict = "MISSED"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.id, f.what, f.value, f.goal, verdict, f.peer)
	}
	_ = t.Flush()
}

func (r *report) write(file string) error {
	head := fmt.Sprintf("goos: %s\ngoarch: %s\npkg: github.com/tagpin/tagpin/hack/bench\n", runtime.GOOS, runtime.GOARCH)
	return os.WriteFile(file, []byte(head+r.samples.String()), 0o644) //nolint:gosec // it is for everybody
}

// median of an odd or even number of values; it needs one at least.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
