// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/tagpin/tagpin/pkg/amount"
	"github.com/tagpin/tagpin/pkg/printable"
)

var longDigest = regexp.MustCompile(`(sha\d+:[0-9a-f]{12})[0-9a-f]+`)

// WriteTable writes the summary, and a row for each finding that has another state than pinned, or
// details. If all is true, every finding has a row.
func (r *Report) WriteTable(out io.Writer, all bool) error {
	s, shown := r.Summary, 0
	var text strings.Builder
	where := ""
	if r.Cluster != "" {
		where = " in " + printable.Text(r.Cluster)
	}
	fmt.Fprintf(&text, "%s%s: %s in %s of %s in %s, with %s\n",
		r.Time.UTC().Format("2006-01-02 15:04 UTC"), where,
		amount.Of(s.Containers, "container"), amount.Of(s.Pods, "pod"),
		amount.Of(s.Workloads, "workload"), amount.Of(s.Namespaces, "namespace"),
		amount.Of(s.Images, "image"))
	for _, state := range States() {
		if n := s.States[state]; n > 0 || state != Exempt {
			fmt.Fprintf(&text, "%7d %s\n", n, state)
		}
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, f := range r.Containers {
		if !all && f.Worst() == Pinned && len(f.Details) == 0 {
			continue
		}
		if shown++; shown == 1 {
			fmt.Fprintln(table,
				"\nNAMESPACE\tWORKLOAD\tCONTAINER\tCOUNT\tSTATE\tIMAGE\tRUNS\tTAG NOW\tDETAILS")
		}
		fmt.Fprintln(table, f.line())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(text.String()) {
		if _, err := fmt.Fprintln(out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// line returns the cells of a finding.
func (f *Finding) line() string {
	states := make([]string, len(f.States))
	for i, s := range f.States {
		states[i] = string(s)
	}
	container := printable.Text(f.Container)
	if f.Type != TypeContainer {
		container += " (" + string(f.Type) + ")"
	}
	return strings.Join([]string{
		printable.Text(f.Namespace), printable.Text(f.Workload.String()), container,
		fmt.Sprint(f.Count), strings.Join(states, ","), cut(f.Image),
		Short(f.RunningDigest), Short(f.TagNow()), cut(strings.Join(f.Details, "; ")),
	}, "\t")
}

// cut shortens the digests in a text.
func cut(text string) string { return longDigest.ReplaceAllString(text, "$1…") }
