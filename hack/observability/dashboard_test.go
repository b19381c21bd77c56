// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// dashboard is what is looked at of a Grafana dashboard.
type dashboard struct {
	UID, Title string
	Panels     []panel
}

type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ H, W, X, Y int }
	Targets     []struct{ Expr string }
}

// TestDashboard: each query is one, each metric is measured, each of ours has a panel, and no panel lies on another.
func TestDashboard(t *testing.T) {
	text := read(t, "chart/files/dashboard.json")
	var d dashboard
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	all, ids, cells := known(t), map[int]bool{}, map[string]string{}
	for _, p := range d.Panels {
		if ids[p.ID] || p.Title == "" {
			t.Errorf("panel %d %q: want an ID of its own, and a title", p.ID, p.Title)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.X+g.W > 24 || g.W == 0 || g.H == 0 {
			t.Errorf("panel %q lies at %+v", p.Title, g)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := fmt.Sprint(p.GridPos.X+x, " ", p.GridPos.Y+y)
				if other := cells[cell]; other != "" {
					t.Fatalf("panel %q lies on %q", p.Title, other)
				}
				cells[cell] = p.Title
			}
		}
		if (len(p.Targets) == 0) != (p.Type == "row") {
			t.Errorf("panel %q has %d queries", p.Title, len(p.Targets))
		}
		for _, q := range p.Targets {
			check(t, all, p.Title, q.Expr)
		}
	}
	for n := range all {
		if strings.HasPrefix(n, "tagpin_") && !strings.Contains(text, n) {
			t.Errorf("no panel shows %s", n)
		}
	}
}
