// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

const deploy = "../../deploy"

// measured is a metric: its labels, and the words of its help, which name the values of all labels but the registry's.
type measured struct {
	labels, words []string
	histogram     bool
}

// conditionErrors counts, in the API server, the match conditions that could not be evaluated.
const conditionErrors = "apiserver_admission_match_condition_evaluation_errors_total"

// others are metrics that are not in the table, which is made of tagpin's source: Kubernetes' and Go's own.
var others = map[string]measured{
	"apiserver_admission_webhook_rejection_count": {labels: []string{"name", "error_type"}},
	"apiserver_admission_webhook_fail_open_count": {labels: []string{"name"}},
	conditionErrors: {labels: []string{"name", "kind", "type", "operation"}},
	"apiserver_admission_webhook_admission_duration_seconds": {labels: []string{"name"}, histogram: true},
	"kube_deployment_status_replicas_available":              {labels: []string{"deployment"}},
	"kube_deployment_spec_replicas":                          {labels: []string{"deployment"}},
	"process_resident_memory_bytes":                          {},
	"process_cpu_seconds_total":                              {},
	"go_memstats_heap_inuse_bytes":                           {},
	"go_goroutines":                                          {},
}

// target are labels that Prometheus adds, and that of a histogram's buckets.
var target = []string{"namespace", "instance", "job", "pod", "le"}

var (
	row  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| (.*?) \\| (.*) \\|$")
	name = regexp.MustCompile("`([a-z_]+)`")
	word = regexp.MustCompile(`[A-Za-z0-9-]+`)
)

// known are all metrics, by name.
func known(t *testing.T) map[string]measured {
	t.Helper()
	all := map[string]measured{}
	for n, m := range others {
		all[n] = m
	}
	for _, r := range row.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		m := measured{histogram: r[2] == "histogram", words: word.FindAllString(r[4], -1)}
		for _, l := range name.FindAllStringSubmatch(r[3], -1) {
			m.labels = append(m.labels, l[1])
		}
		all[r[1]] = m
	}
	if len(all) < len(others)+10 {
		t.Fatal("the docs have no table of metrics")
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find finds a metric by the name of one of its series.
func find(all map[string]measured, series string) (measured, bool) {
	if m, ok := all[series]; ok && !m.histogram {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, suffix); ok && all[base].histogram {
			return all[base], true
		}
	}
	return measured{}, false
}

// check parses a query, and looks up what it names.
func check(t *testing.T, all map[string]measured, where, query string) {
	t.Helper()
	query = strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*").Replace(query)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, query)
		return
	}
	var there []string // labels of all series in the query
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m, ok := find(all, s.Name)
		if !ok {
			t.Errorf("%s: nobody measures %s", where, s.Name)
		}
		there = append(there, m.labels...)
		for _, matcher := range s.LabelMatchers {
			checkMatcher(t, where, s.Name, m, matcher)
		}
		return nil
	})
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !slices.Contains(there, l) && !slices.Contains(target, l) {
					t.Errorf("%s: no series has the label %s: %s", where, l, query)
				}
			}
		}
		return nil
	})
}

// checkMatcher looks up a label, and each of its values.
func checkMatcher(t *testing.T, where, series string, m measured, matcher *labels.Matcher) {
	t.Helper()
	switch {
	case matcher.Name == model.MetricNameLabel || slices.Contains(target, matcher.Name):
		return
	case !slices.Contains(m.labels, matcher.Name):
		t.Errorf("%s: %s has no label %s", where, series, matcher.Name)
	case m.words == nil:
		return
	}
	for value := range strings.SplitSeq(matcher.Value, "|") {
		if !slices.Contains(m.words, value) {
			t.Errorf("%s: the help of %s names no %s %q", where, series, matcher.Name, value)
		}
	}
}

var ours = regexp.MustCompile(`tagpin_[a-z]+_[a-z_]+`)

// TestNamesInTheDocs: what the pages call a metric is one.
func TestNamesInTheDocs(t *testing.T) {
	all := known(t)
	pages, err := filepath.Glob(filepath.Join(deploy, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, filepath.Join(deploy, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range ours.FindAllString(string(text), -1) {
			if _, histogram := all[n]; !histogram {
				if _, ok := find(all, n); !ok {
					t.Errorf("%s: nobody measures %s", page, n)
				}
			}
		}
	}
}
