// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

// bareAggregation matches an aggregation without labels.
var bareAggregation = regexp.MustCompile(`\b(sum|min|max|count|group|avg)\s*[(]`)

// byCluster returns an expression that keeps the label of the cluster in each aggregation and in
// each match on labels, as the chart writes it with prometheusRule.groupBy.
func byCluster(t *testing.T, expr string) string {
	t.Helper()
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatal(err)
	}
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.AggregateExpr:
			n.Grouping = append(n.Grouping, "cluster")
		case *parser.BinaryExpr:
			if n.VectorMatching != nil && n.VectorMatching.On {
				n.VectorMatching.MatchingLabels = append(n.VectorMatching.MatchingLabels, "cluster")
			}
		}
		return nil
	})
	return tree.String()
}

// TestAlertsByCluster checks that a healthy cluster does not hide others, if the alerts are grouped
// by cluster.
func TestAlertsByCluster(t *testing.T) {
	const series = `
		tagpin_build_info{cluster="healthy"} 1x90
		tagpin_build_info{cluster="gone"} 1x20
		tagpin_build_info{cluster="broken"} 1x90
		tagpin_registration_rules{cluster="healthy"} 3x90
		tagpin_registration_rules{cluster="broken"} 0x90
		tagpin_admission_reviews_total{cluster="healthy",mode="enforce",result="patched"} 0+60x90
		tagpin_admission_reviews_total{cluster="healthy",mode="enforce",result="denied"} 0x90
		tagpin_admission_reviews_total{cluster="broken",mode="enforce",result="denied"} 0+1x90
		tagpin_registry_requests_total{cluster="healthy",instance="a",registry="docker.io"} 0+1x90
		tagpin_registry_pulls_remaining{cluster="healthy",instance="a",registry="docker.io"} 90x90
		tagpin_registry_requests_total{cluster="broken",instance="a",registry="docker.io"} 7x90
		tagpin_registry_pulls_remaining{cluster="broken",instance="a",registry="docker.io"} 8x90`
	together, apart := rules(t), map[string]rulefmt.Rule{}
	for alert, r := range together {
		r.Expr = byCluster(t, r.Expr)
		apart[alert] = r
	}
	end := time.Unix(75*60, 0)
	// A replica of another cluster with the same address has made requests.
	if got := slices.Sorted(maps.Keys(fired(t, "1m", series, together, end))); !slices.Equal(
		got, []string{"TagpinPullsRunOut"}) {
		t.Errorf("for all clusters together, %q fire, want only TagpinPullsRunOut", got)
	}
	want := []string{"TagpinAbsent", "TagpinDenies", "TagpinNotRegistered"}
	if got := slices.Sorted(maps.Keys(fired(t, "1m", series, apart, end))); !slices.Equal(got, want) {
		t.Errorf("for each cluster, %q fire, want %q", got, want)
	}
}

// TestAggregations checks that each aggregation names its labels, although there may be none, so
// that the chart can add labels.
func TestAggregations(t *testing.T) {
	for alert, r := range rules(t) {
		if found := bareAggregation.FindString(r.Expr); found != "" {
			t.Errorf("%s has %s in its expression, want by () after the name", alert, found)
		}
	}
}
