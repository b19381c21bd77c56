// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// dashboard has the fields of a Grafana dashboard that are tested.
type dashboard struct {
	UID, Title string
	Panels     []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct{ Defaults struct{ NoValue string } }
	Targets     []target
}

// target is a query of a panel.
type target struct {
	Expr, LegendFormat string
	Instant            bool
}

// readDashboard returns the dashboard.
func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(read(t, "chart/files/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// TestDashboard checks that each query is valid, names only metrics that exist, and selects the
// cluster, that each metric of tagpin has a panel, and that panels don't overlap.
func TestDashboard(t *testing.T) {
	text, d := read(t, "chart/files/dashboard.json"), readDashboard(t)
	all, ids, cells := knownMetrics(t), map[int]bool{}, map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: want a unique ID and a title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X+g.W > 24 || g.W == 0 || g.H == 0 {
			t.Errorf("panel %q has the position %+v, want one on the grid", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := fmt.Sprint(p.GridPos.X+x, " ", p.GridPos.Y+y)
				if other := cells[cell]; other != "" {
					t.Fatalf("panel %q overlaps %q", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("panel %q of type %s has %d queries", p.Title, p.Type, len(p.Targets))
		}
		for _, q := range p.Targets {
			checkQuery(t, all, p.Title, q.Expr)
			if strings.Count(q.Expr, "{") != strings.Count(q.Expr, `{cluster=~"$cluster"`) {
				t.Errorf("panel %q: not all metrics are those of $cluster in %s", p.Title, q.Expr)
			}
		}
	}
	for n := range all {
		if strings.HasPrefix(n, "tagpin_") && !strings.Contains(text, n) {
			t.Errorf("no panel shows %s", n)
		}
	}
}
