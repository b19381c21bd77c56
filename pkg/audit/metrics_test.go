// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tagpin/tagpin/pkg/audit"
)

// TestMetrics checks the metrics before the first report, after one, and after a failed run, which
// keeps them.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := audit.NewMetrics(registry, time.Hour)
	names := []string{"tagpin_audit_containers", "tagpin_audit_gone_containers", "tagpin_audit_lookup_failed_containers", "tagpin_audit_unread_parts"}
	times := []string{"tagpin_audit_last_report_timestamp_seconds", "tagpin_audit_duration_seconds"}
	m.Finished(nil, time.Now())
	if n, err := testutil.GatherAndCount(registry, append(times, names...)...); err != nil || n > 0 {
		t.Errorf("%d metrics of a report before the first one (%v), want 0", n, err)
	}
	f := newFixture(t)
	f.pusher(t).image("app:1", "one")
	gone := one(f.host+"/app@"+nothing, f.host+"/app@"+nothing)
	busy := one(f.host+"/busy/app:1", "")
	m.Finished(report(t, f.auditor(t), gone, gone, busy), time.Now())
	m.Finished(&audit.Report{Problems: []string{"x"}, Summary: audit.Summary{LookupFailed: 1}}, time.Now())
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP tagpin_audit_unread_parts Parts of the cluster that the last audit could not read.
# TYPE tagpin_audit_unread_parts gauge
tagpin_audit_unread_parts 1
`), "tagpin_audit_unread_parts"); err != nil {
		t.Error(err)
	}
	last := report(t, f.auditor(t), gone, gone, busy)
	m.Finished(last, time.Now())
	m.Finished(nil, time.Now())
	if got := lastReport(t, registry); int64(got) != last.Time.Unix() {
		t.Errorf("the last report was at %v, want %v", got, last.Time.Unix())
	}
	want := `
# HELP tagpin_audit_containers Containers, by the namespace of their pod and by state: pinned, unpinned, exempt, drifted, gone, unknown. A container may have several states. Namespaces beyond the first 1000 are (others).
# TYPE tagpin_audit_containers gauge
tagpin_audit_containers{state="drifted",workload_namespace="ns"} 0
tagpin_audit_containers{state="exempt",workload_namespace="ns"} 0
tagpin_audit_containers{state="gone",workload_namespace="ns"} 2
tagpin_audit_containers{state="pinned",workload_namespace="ns"} 2
tagpin_audit_containers{state="unknown",workload_namespace="ns"} 1
tagpin_audit_containers{state="unpinned",workload_namespace="ns"} 1
# HELP tagpin_audit_lookup_failed_containers Containers that are unknown because a lookup failed, or was not made in time, in the last audit.
# TYPE tagpin_audit_lookup_failed_containers gauge
tagpin_audit_lookup_failed_containers 1
# HELP tagpin_audit_unread_parts Parts of the cluster that the last audit could not read.
# TYPE tagpin_audit_unread_parts gauge
tagpin_audit_unread_parts 0
# HELP tagpin_audit_gone_containers Containers whose image the registry no longer has, by namespace and workload. Workloads of a namespace beyond the first 10 are (others), and namespaces beyond the first 1000 too.
# TYPE tagpin_audit_gone_containers gauge
tagpin_audit_gone_containers{workload="Pod/p",workload_namespace="ns"} 2
# HELP tagpin_audit_runs_total Audits of the cluster, by result: ok; incomplete, if a part of the cluster could not be read; failed, if there is no report.
# TYPE tagpin_audit_runs_total counter
tagpin_audit_runs_total{result="failed"} 2
tagpin_audit_runs_total{result="incomplete"} 1
tagpin_audit_runs_total{result="ok"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), append(names, "tagpin_audit_runs_total")...); err != nil {
		t.Error(err)
	}
}

// lastReport returns the value of the metric that says when there was a report.
func lastReport(t *testing.T, registry *prometheus.Registry) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "tagpin_audit_last_report_timestamp_seconds" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("no metric of the last report")
	return 0
}

// TestMetricsAreBounded checks that a cluster with many namespaces and workloads has a bounded
// number of metrics.
func TestMetricsAreBounded(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := audit.NewMetrics(registry, time.Hour)
	r := &audit.Report{}
	for i := range 3000 {
		name := fmt.Sprint("ns-", i)
		states := map[audit.State]int{audit.Gone: 1}
		r.Namespaces = append(r.Namespaces, audit.Namespace{Name: name, States: states})
		r.Containers = append(r.Containers, audit.Finding{Namespace: name, Workload: audit.Workload{Kind: "Pod", Name: "p"}, Count: 1, States: []audit.State{audit.Gone}})
	}
	m.Finished(r, time.Now())
	for name, want := range map[string]int{"tagpin_audit_containers": 6 * 1001, "tagpin_audit_gone_containers": 1001} {
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != want {
			t.Errorf("%d metrics %s (%v), want %d", n, name, err, want)
		}
	}
}

// TestGoneOfOneNamespace checks that a namespace with many workloads does not hide those of others.
func TestGoneOfOneNamespace(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := audit.NewMetrics(registry, time.Hour)
	r := &audit.Report{}
	for i := range 500 {
		namespace := "a"
		if i >= 499 {
			namespace = "z"
		}
		r.Containers = append(r.Containers, audit.Finding{Namespace: namespace, Workload: audit.Workload{Kind: "Pod", Name: fmt.Sprint(i)}, Count: 1, States: []audit.State{audit.Gone}})
	}
	m.Finished(r, time.Now())
	if n, err := testutil.GatherAndCount(registry, "tagpin_audit_gone_containers"); err != nil || n != 12 {
		t.Errorf("%d metrics (%v), want 10 workloads of a, its others, and one of z", n, err)
	}
}
