// SPDX-License-Identifier: Apache-2.0

// Package report collects what was measured: figures with their goals, as a table for people, and
// samples in the format of Go benchmarks, for benchstat.
//
//	r := &report.Report{}
//	r.AtMost("P4", "cold: one Pod of 10 images ÷ a round trip", 1.2, 1.3, "")
//	r.Sample("Cold", report.Of(24.1, "ms"))
//	r.Print(os.Stdout)
//
// A Report can be encoded as JSON, so that a program of another module can measure a part of it.
package report

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is what was measured.
type Report struct {
	Figures []Figure
	Samples []Sample
}

// Figure is a line of the table.
type Figure struct {
	ID, What string
	Value    float64
	Goal     float64
	AtLeast  bool   // whether Goal is a minimum; otherwise it is a maximum
	Peers    string // the figure of other webhooks, if it is known
	Missing  string // why nothing was measured; empty if it was
}

// Sample is one measurement for benchstat, which compares the samples of the same name.
type Sample struct {
	Name       string
	Iterations int
	Values     []Value
}

// Value is a number and its unit.
type Value struct {
	Number float64
	Unit   string
}

// Of returns a value.
func Of(number float64, unit string) Value { return Value{number, unit} }

// AtLeast adds a figure whose goal is a minimum.
func (r *Report) AtLeast(id, what string, value, goal float64, peers string) {
	r.Figures = append(r.Figures,
		Figure{ID: id, What: what, Value: value, Goal: goal, AtLeast: true, Peers: peers})
}

// AtMost adds a figure whose goal is a maximum.
func (r *Report) AtMost(id, what string, value, goal float64, peers string) {
	r.Figures = append(r.Figures, Figure{ID: id, What: what, Value: value, Goal: goal, Peers: peers})
}

// Missing adds a figure that could not be measured here.
func (r *Report) Missing(id, what, why string) {
	r.Figures = append(r.Figures, Figure{ID: id, What: what, Missing: why})
}

// Sample adds a sample of one iteration.
func (r *Report) Sample(name string, values ...Value) { r.SampleOf(name, 1, values...) }

// SampleOf adds a sample whose values are the means of several iterations.
func (r *Report) SampleOf(name string, iterations int, values ...Value) {
	r.Samples = append(r.Samples, Sample{name, iterations, values})
}

// Add adds everything that another report has.
func (r *Report) Add(other Report) {
	r.Figures = append(r.Figures, other.Figures...)
	r.Samples = append(r.Samples, other.Samples...)
}

// Sort sorts the figures by their numbers.
func (r *Report) Sort() {
	number := func(f Figure) int {
		n, _ := strconv.Atoi(strings.TrimPrefix(f.ID, "P"))
		return n
	}
	slices.SortStableFunc(r.Figures, func(a, b Figure) int { return number(a) - number(b) })
}

// Met reports whether the goal was reached.
func (f Figure) Met() bool {
	switch {
	case f.Missing != "":
		return false
	case f.AtLeast:
		return f.Value >= f.Goal
	default:
		return f.Value <= f.Goal
	}
}

// row returns the cells of the figure in the table.
func (f Figure) row() string {
	if f.Missing != "" {
		return strings.Join([]string{f.ID, f.What, "-", "-", "not measured: " + f.Missing, f.Peers}, "\t")
	}
	sign, verdict := "≤ ", "ok"
	if f.AtLeast {
		sign = "≥ "
	}
	if !f.Met() {
		verdict = "MISSED"
	}
	cells := []string{f.ID, f.What, number(f.Value), sign + number(f.Goal), verdict, f.Peers}
	return strings.Join(cells, "\t")
}

// number returns a figure with about three digits.
func number(v float64) string {
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

func short(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Print writes the table.
func (r *Report) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\twhat\tfigure\tgoal\t\tpeers")
	for _, f := range r.Figures {
		fmt.Fprintln(t, f.row())
	}
	return t.Flush()
}

// head is the beginning of a file for benchstat. It says in which direction a unit is better, where
// benchstat does not know it.
const head = `goos: %s
goarch: %s
pkg: github.com/tagpin/tagpin/hack/bench
`

// Write writes the samples in Go's benchmark format (golang.org/design/14313-benchmark-format).
func (r *Report) Write(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, head, runtime.GOOS, runtime.GOARCH)
	for _, unit := range r.units() {
		better := "lower"
		if strings.HasPrefix(unit, "rate/") || strings.HasSuffix(unit, "/s") {
			better = "higher"
		}
		fmt.Fprintf(&text, "Unit %s better=%s\n", unit, better)
	}
	for _, s := range r.Samples {
		fmt.Fprintf(&text, "Benchmark%s %d", s.Name, s.Iterations)
		for _, v := range s.Values {
			fmt.Fprintf(&text, " %s %s", short(v.Number), v.Unit)
		}
		text.WriteByte('\n')
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// units returns the units of all samples except those of Go benchmarks.
func (r *Report) units() []string {
	var units []string
	for _, s := range r.Samples {
		for _, v := range s.Values {
			if v.Unit != "ns/op" && v.Unit != "B/op" && v.Unit != "allocs/op" {
				units = append(units, v.Unit)
			}
		}
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// Median returns the median of one or more values.
func Median(all []float64) float64 {
	s := slices.Sorted(slices.Values(all))
	return (s[len(s)/2] + s[(len(s)-1)/2]) / 2
}
