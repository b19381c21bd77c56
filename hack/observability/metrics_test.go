// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"maps"
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

// metric describes a metric.
type metric struct {
	labels    []string
	words     []string // words of the help, which lists the values of the labels; nil if unknown
	histogram bool
}

// conditionErrors is a metric of the API server. It counts the match conditions that could not be
// evaluated.
const conditionErrors = "apiserver_admission_match_condition_evaluation_errors_total"

// others are the metrics of Kubernetes and Go, which are not in the table in metrics.md.
var others = map[string]metric{
	"apiserver_admission_webhook_rejection_count": {labels: []string{"name", "error_type"}},
	"apiserver_admission_webhook_fail_open_count": {labels: []string{"name"}},
	conditionErrors: {labels: []string{"name", "kind", "type", "operation"}},
	"apiserver_admission_webhook_admission_duration_seconds": {labels: []string{"name"}, histogram: true},
	"kube_deployment_status_replicas_updated":                {labels: []string{"namespace", "deployment"}},
	"kube_deployment_status_replicas_unavailable":            {labels: []string{"namespace", "deployment"}},
	"kube_deployment_status_replicas_available":              {labels: []string{"namespace", "deployment"}},
	"kube_deployment_spec_replicas":                          {labels: []string{"namespace", "deployment"}},
	"process_resident_memory_bytes":                          {},
	"process_start_time_seconds":                             {},
	"go_gc_gomemlimit_bytes":                                 {},
	"process_cpu_seconds_total":                              {},
	"go_memstats_heap_inuse_bytes":                           {},
	"go_goroutines":                                          {},
}

// anyMetric are labels that every metric can have: those that Prometheus adds, that of the cluster,
// and the label of a histogram's buckets.
var anyMetric = []string{"cluster", "namespace", "instance", "job", "pod", "le"}

var (
	row  = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| (.*?) \\| (.*) \\|$")
	name = regexp.MustCompile("`([a-z_]+)`")
	word = regexp.MustCompile(`[A-Za-z0-9-]+`)
)

// knownMetrics returns all metrics by name.
func knownMetrics(t *testing.T) map[string]metric {
	t.Helper()
	all := maps.Clone(others)
	for _, r := range row.FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		m := metric{histogram: r[2] == "histogram", words: word.FindAllString(r[4], -1)}
		for _, l := range name.FindAllStringSubmatch(r[3], -1) {
			m.labels = append(m.labels, l[1])
		}
		all[r[1]] = m
	}
	if len(all) < len(others)+10 {
		t.Fatal("metrics.md has no table of metrics")
	}
	return all
}

// read returns the text of a file in deploy.
func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// find returns the metric that a series belongs to.
func find(all map[string]metric, series string) (metric, bool) {
	if m, ok := all[series]; ok && !m.histogram {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, suffix); ok && all[base].histogram {
			return all[base], true
		}
	}
	return metric{}, false
}

// checkQuery checks that a query is valid, and that the metrics, labels and values of labels in it
// exist. where says where the query is.
func checkQuery(t *testing.T, all map[string]metric, where, query string) {
	t.Helper()
	query = strings.NewReplacer("$__rate_interval", "5m", "$cluster", ".*", "$namespace", ".*").Replace(query)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v in %s", where, err, query)
		return
	}
	queryLabels := slices.Clone(anyMetric) // labels of all series in the query
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		m, ok := find(all, s.Name)
		if !ok {
			t.Errorf("%s: there is no metric %s", where, s.Name)
		}
		queryLabels = append(queryLabels, m.labels...)
		for _, matcher := range s.LabelMatchers {
			checkMatcher(t, where, s.Name, m, matcher)
		}
		return nil
	})
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok {
			for _, l := range a.Grouping {
				if !slices.Contains(queryLabels, l) {
					t.Errorf("%s: no series has the label %s: %s", where, l, query)
				}
			}
		}
		return nil
	})
}

// checkMatcher checks that a label exists and that it can have the values of a matcher.
func checkMatcher(t *testing.T, where, series string, m metric, matcher *labels.Matcher) {
	t.Helper()
	switch {
	case matcher.Name == model.MetricNameLabel || slices.Contains(anyMetric, matcher.Name):
		return
	case !slices.Contains(m.labels, matcher.Name):
		t.Errorf("%s: %s has no label %s", where, series, matcher.Name)
	case m.words == nil:
		return
	}
	for value := range strings.SplitSeq(matcher.Value, "|") {
		if !slices.Contains(m.words, value) {
			t.Errorf("%s: the help of %s has no %s %q", where, series, matcher.Name, value)
		}
	}
}

var tagpinMetric = regexp.MustCompile(`tagpin_[a-z]+_[a-z_]+\b`)

// TestNamesInTheDocs checks that the metrics that the docs mention exist.
func TestNamesInTheDocs(t *testing.T) {
	all := knownMetrics(t)
	pages, err := filepath.Glob(filepath.Join(deploy, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, filepath.Join(deploy, "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range tagpinMetric.FindAllString(string(text), -1) {
			_, isMetric := all[n]
			if _, isSeries := find(all, n); !isMetric && !isSeries {
				t.Errorf("%s: there is no metric %s", page, n)
			}
		}
	}
}
