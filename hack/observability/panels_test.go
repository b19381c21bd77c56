// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"errors"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/util/teststorage"
)

// scraper reads metrics as Prometheus does. Its clock is made up: each scrape is scrapeInterval
// after the one before, so that ten minutes of metrics take seconds.
type scraper struct {
	t       *testing.T
	server  *live
	storage *teststorage.TestStorage
	now     time.Time
}

// scrape reads the metrics and stores them.
func (s *scraper) scrape() {
	s.t.Helper()
	s.now = s.now.Add(scrapeInterval)
	page, err := textparse.New([]byte(s.server.page()), "text/plain", labels.NewSymbolTable(),
		textparse.ParserOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	appender := s.storage.Appender(s.t.Context())
	for {
		entry, err := page.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, value := page.Series()
		var own labels.Labels
		page.Labels(&own)
		target := labels.NewBuilder(own).Set("cluster", "one").Set("namespace", "tagpin-system")
		series := target.Set("instance", "10.0.0.1:8080").Set("job", "tagpin").Labels()
		if _, err := appender.Append(0, series, s.now.UnixMilli(), value); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := appender.Commit(); err != nil {
		s.t.Fatal(err)
	}
}

// line is a line of a panel.
type line struct {
	legend string
	points []promql.FPoint
}

// lines returns the lines that a query of a panel draws from a time until now. Grafana draws no
// point that is not a number.
func (s *scraper) lines(q target, from time.Time) []line {
	s.t.Helper()
	expr := strings.NewReplacer(
		"$__rate_interval", "2m", "$cluster", ".*", "$namespace", ".*").Replace(q.Expr)
	if q.Instant {
		from = s.now
	}
	engine := promqltest.NewTestEngine(s.t, false, 5*time.Minute, 1e6)
	query, err := engine.NewRangeQuery(
		s.t.Context(), s.storage, nil, expr, from, s.now, scrapeInterval)
	if err != nil {
		s.t.Fatal(err)
	}
	defer query.Close()
	matrix, err := query.Exec(s.t.Context()).Matrix()
	if err != nil {
		s.t.Fatalf("%s: %v", expr, err)
	}
	var all []line
	for _, series := range matrix {
		l := line{legend: q.LegendFormat}
		series.Metric.Range(func(label labels.Label) {
			l.legend = strings.ReplaceAll(l.legend, "{{"+label.Name+"}}", label.Value)
		})
		for _, p := range series.Floats {
			if !math.IsNaN(p.F) && !math.IsInf(p.F, 0) {
				l.points = append(l.points, promql.FPoint{T: p.T, F: p.F})
			}
		}
		if len(l.points) > 0 {
			all = append(all, l)
		}
	}
	return all
}

// number is where a query of a panel has a line that is not always 0. It has the beginning or the
// end of the line's legend.
type number struct{ title, legend string }

// phases are what TestPanels does to the server.
var phases = []struct {
	name  string
	empty []string // panels that have no data
	above []number // lines that are above 0
	fires []string // alerts whose expression has a result at the end
}{
	{
		"quiet",
		[]string{"Failures by class", "Stale pins", "Answered from the cache", "Not asked"},
		[]number{{"Replicas measured", ""}, {"Memory", "limit of Go"}, {"Certificate expires in", "expires in"}},
		nil,
	},
	{
		"load",
		[]string{"Stale pins"},
		[]number{
			{"Reviews a second", ""},
			{"Denied", ""},
			{"Reviews by mode and result", "enforce denied"},
			{"Reviews by mode and result", "enforce refused"},
			{"Time of a review", "p99"},
			{"References by result", "pinned"},
			{"Failures by class", "notFound"},
			{"Failures by class", "unauthorized"},
			{"Answered from the cache", "cache"},
			{"Lookups by registry and result", "other unavailable"},
			{"Requests to registries", "HEAD 200"},
			{"Requests to registries", "HEAD 401"},
			{"Pulls remaining", ""},
			{"CPU", ""},
		},
		[]string{"TagpinOthersUnavailable"},
	},
	{
		"outage",
		nil,
		[]number{
			{"Failures by class", "unavailable"},
			{"Stale pins", ""},
			{"Answered from the cache", "stale"},
			{"Not asked", ""},
			{"Spans", "sent"},
		},
		[]string{"TagpinOthersUnavailable", "TagpinRegistryUnavailable", "TagpinStale"},
	},
}

// TestPanels scrapes a server that is nearly idle, that is under load, and that has lost its
// registry. It checks that each panel shows that, except for what the API server measures.
func TestPanels(t *testing.T) {
	l := newLive(t)
	s := &scraper{t: t, server: l, storage: teststorage.New(t), now: time.Now()}
	const scrapes = 20
	for _, phase := range phases {
		if phase.name == "outage" {
			l.fail()
		}
		from := s.now.Add(scrapeInterval)
		for i := range scrapes {
			switch {
			case phase.name != "quiet":
				l.load(i)
			case i%8 == 4: // more than once, since the first one is no increase of a new counter
				l.send("/enforce", "Deployment", l.image+":old")
			}
			s.scrape()
		}
		t.Run(phase.name, func(t *testing.T) {
			s.t = t
			empty, drawn := s.panels(from)
			for _, title := range empty {
				if !slices.Contains(phase.empty, title) {
					t.Errorf("a query of the panel %q has no data", title)
				}
			}
			for _, n := range phase.above {
				if !slices.ContainsFunc(drawn[n.title], n.above) {
					t.Errorf("the panel %q has no line %q above 0", n.title, n.legend)
				}
			}
			if got := s.results(); !slices.Equal(got, phase.fires) {
				t.Errorf("the alerts with a result are %q, want %q", got, phase.fires)
			}
		})
	}
}

// above reports whether a line is n and not always 0.
func (n number) above(l line) bool {
	return (strings.HasPrefix(l.legend, n.legend) || strings.HasSuffix(l.legend, n.legend)) &&
		slices.ContainsFunc(l.points, func(p promql.FPoint) bool { return p.F > 0 })
}

// fromAPIServer matches the metrics that are not there without an API server. pkg/audit tests those
// of the audit.
var fromAPIServer = regexp.MustCompile(`apiserver_|tagpin_registration_(rules|as_)|tagpin_audit_`)

// panels returns the titles of the panels that have a query without data since a time, and the
// lines of each panel.
func (s *scraper) panels(from time.Time) (empty []string, drawn map[string][]line) {
	s.t.Helper()
	drawn = map[string][]line{}
	for _, p := range readDashboard(s.t).Panels {
		for _, q := range p.Targets {
			lines := s.lines(q, from)
			if len(lines) == 0 && !fromAPIServer.MatchString(q.Expr) {
				empty = append(empty, p.Title)
			}
			drawn[p.Title] = append(drawn[p.Title], lines...)
		}
		if len(p.Targets) > 0 && len(drawn[p.Title]) == 0 && p.FieldConfig.Defaults.NoValue == "" {
			s.t.Errorf("the panel %q is empty and does not say why", p.Title)
		}
	}
	return empty, drawn
}

// results returns the alerts whose expression has a result now.
func (s *scraper) results() []string {
	s.t.Helper()
	var all []string
	for alert, r := range rules(s.t) {
		if len(s.lines(target{Expr: r.Expr, Instant: true}, s.now)) > 0 {
			all = append(all, alert)
		}
	}
	slices.Sort(all)
	return all
}
