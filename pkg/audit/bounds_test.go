// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/audit"
)

// TestBounds checks that a namespace adds a bounded number of rows and bytes, and that the rest is
// counted.
func TestBounds(t *testing.T) {
	f := newFixture(t)
	for name, tt := range map[string]struct{ image, why string }{
		"rows":  {"!", "the namespace has more than 10000 different containers"},
		"bytes": {"!" + strings.Repeat("x", 1000), "the names and images of the namespace have more than 4 MiB"},
	} {
		c := &audit.Collector{}
		for i := range 20_000 {
			c.Add(one(fmt.Sprint(tt.image, i), ""))
		}
		p := one("!innocent", "")
		p.Namespace = "z"
		c.Add(p)
		r, err := f.auditor(t).Report(t.Context(), c)
		check(t, r, err)
		size, last := 0, audit.Finding{}
		for _, finding := range r.Containers {
			size += len(finding.Image)
			if finding.Workload.Name == "(others)" {
				last = finding
			}
		}
		want := 20_000 - (len(r.Containers) - 2)
		if len(r.Containers) > 10_002 || size > 5<<20 ||
			last.Count != want || r.Summary.Containers != 20_001 {
			t.Errorf("%s: %d rows of %d bytes, others %d, want a bounded number and %d others",
				name, len(r.Containers), size, last.Count, want)
		}
		if !slices.Equal(last.States, []audit.State{audit.Unknown}) {
			t.Errorf("%s: states of others %v, want unknown alone", name, last.States)
		}
		if want := tt.why + "; these containers were only counted"; !slices.Equal(last.Details, []string{want}) {
			t.Errorf("%s: details of others %q, want %q", name, last.Details, want)
		}
	}
}

// TestBytes checks that the rows of all namespaces together and what is reported about them stay
// within Collector.Bytes, which the namespaces that have most pay for.
func TestBytes(t *testing.T) {
	const bound = 32 << 20
	f := newFixture(t)
	c := &audit.Collector{Bytes: bound}
	a := f.auditor(t)
	a.ForTenants = true
	before, most, last := heap(), int64(0), -1
	a.Progress = func(done, all int) {
		if done != last && (done == all || done%2000 == 0) {
			last = done
			most = max(most, heap())
		}
	}
	for i := range 30_000 { // of six hostile namespaces, and with texts of their own
		image := fmt.Sprintf("10.0.0.1/%s/%d:1", strings.Repeat("x", 200), i)
		p := one(image, image+"@"+nothing)
		p.Namespace, p.Name = fmt.Sprint("hostile-", i%6), fmt.Sprint("p-", i)
		c.Add(p)
	}
	for i := range 100 {
		p := one("10.0.0.1/app:1", "")
		p.Namespace, p.Name = fmt.Sprint("small-", i%10), fmt.Sprint("p-", i)
		c.Add(p)
	}
	r, err := a.Report(t.Context(), c)
	check(t, r, err)
	most = max(most, heap()) - before
	if t.Logf("%d KiB for %d rows", most>>10, len(r.Containers)); most > bound {
		t.Errorf("%d MiB for %d rows, want at most %d", most>>20, len(r.Containers), bound>>20)
	}
	runtime.KeepAlive(r)
	var small, lost int
	for _, finding := range r.Containers {
		switch {
		case strings.HasPrefix(finding.Namespace, "small-") && finding.Container == "c":
			small += finding.Count
		case finding.Container == "(others)":
			lost += finding.Count
			const why = "the report would need more memory than there is; raise " +
				"audit.resources.limits.memory of the chart, and GOMEMLIMIT if extraEnv sets it; " +
				"these containers were only counted"
			if !slices.Equal(finding.Details, []string{why}) {
				t.Errorf("details of others %q, want %q", finding.Details, why)
			}
		}
	}
	if small != 100 || lost == 0 || r.Summary.Containers != 30_100 {
		t.Errorf("%d containers of small namespaces, %d of others, %d in all, want all 100, some, and 30100", small, lost, r.Summary.Containers)
	}
	if len(r.Containers) < 2000 {
		t.Errorf("%d rows, want as many as there is memory for", len(r.Containers))
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestLongTexts checks that long and odd texts of a pod are cut or replaced.
func TestLongTexts(t *testing.T) {
	f := newFixture(t)
	long := strings.Repeat("x", 1<<20)
	p := audit.Pod{
		Namespace: "ns", Name: "p", Owner: audit.Owner{Group: "a\nb", Kind: "\x1b[31m", Name: long, UID: long},
		Containers: []audit.Container{{Name: long, Type: audit.TypeContainer, Image: f.host + "/" + long, ImageID: long}},
	}
	r := report(t, f.auditor(t), p)
	got := r.Containers[0]
	if want := (audit.Workload{Group: "(invalid)", Kind: "(invalid)", Name: "(invalid)"}); got.Workload != want {
		t.Errorf("workload %+v, want %+v", got.Workload, want)
	}
	if len(got.Container) > 253 || len(got.Image) > 1025 || !got.Has(audit.Unknown) {
		t.Errorf("container of %d bytes, image of %d, %v; want at most 253, 1025, unknown", len(got.Container), len(got.Image), got.States)
	}
}

// TestForTenants checks that the details leave out what the causes say.
func TestForTenants(t *testing.T) {
	f := newFixture(t)
	a := f.auditor(t)
	a.ForTenants = true
	r := report(t, a, one("unnamed.invalid/app@"+nothing, ""))
	got := r.Containers[0]
	if details := fmt.Sprint(got.Details); !strings.Contains(details, "unreachable") || len(got.Causes) != 1 || strings.Contains(details, got.Causes[0]) {
		t.Errorf("details %q, causes %q, want that it is unreachable, and why in the causes alone", got.Details, got.Causes)
	}
}
