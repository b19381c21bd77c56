// SPDX-License-Identifier: Apache-2.0

package observability

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// rules returns the rules by the name of the alert, as Prometheus parses them.
func rules(t *testing.T) map[string]rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join(deploy, "chart/files/alerts.yaml"), false,
		model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if groups == nil {
		t.FailNow()
	}
	all := map[string]rulefmt.Rule{}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all[r.Alert] = r
		}
	}
	return all
}

const runbooks = "https://github.com/tagpin/tagpin/blob/main/deploy/docs/runbooks.md#"

var heading = regexp.MustCompile(`(?m)^##+ (.+)$`)

// anchors returns the anchors that GitHub gives the headings of the runbooks.
func anchors(t *testing.T) []string {
	var all []string
	for _, h := range heading.FindAllStringSubmatch(read(t, "docs/runbooks.md"), -1) {
		all = append(all, strings.ReplaceAll(strings.ToLower(h[1]), " ", "-"))
	}
	return all
}

// TestAlertsAreComplete checks that each alert has a severity, a summary, a description and a
// runbook, and does not fire at once.
func TestAlertsAreComplete(t *testing.T) {
	all, headings := knownMetrics(t), anchors(t)
	for alert, r := range rules(t) {
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q, want critical or warning", alert, s)
		}
		if r.For < model.Duration(5*time.Minute) {
			t.Errorf("%s: fires after %s, want at least 5m, so that it does not flap", alert, r.For)
		}
		for _, annotation := range []string{"summary", "description"} {
			text := r.Annotations[annotation]
			if !strings.HasSuffix(text, ".") || strings.Contains(text, "  ") {
				t.Errorf("%s: its %s is %q, want sentences", alert, annotation, text)
			}
		}
		url := r.Annotations["runbook_url"]
		anchor, ok := strings.CutPrefix(url, runbooks)
		if !ok || anchor != strings.ToLower(alert) || !slices.Contains(headings, anchor) {
			t.Errorf("%s: its runbook is %s, want the heading with its name", alert, url)
		}
		checkQuery(t, all, alert, r.Expr)
	}
}

// link matches a link to a heading of the runbooks.
var link = regexp.MustCompile(`\]\((?:runbooks\.md)?#([a-z-]+)\)`)

// TestRunbooks checks that each runbook belongs to an alert or to a known incident, and that the
// links between runbooks work.
func TestRunbooks(t *testing.T) {
	expected := []string{
		"install-the-chart-again", "why-a-lookup-fails", "all-nodes-were-down", "clocks-that-differ",
		"emergency-switch",
	}
	for alert := range rules(t) {
		expected = append(expected, strings.ToLower(alert))
	}
	headings := anchors(t)
	for _, heading := range headings {
		if !slices.Contains(expected, heading) {
			t.Errorf("the runbook %s belongs to no alert", heading)
		}
	}
	for _, l := range link.FindAllStringSubmatch(read(t, "docs/runbooks.md"), -1) {
		if !slices.Contains(headings, l[1]) {
			t.Errorf("a link names the runbook %s, which does not exist", l[1])
		}
	}
}

// TestAlertsFire loads series with a sample a minute, and checks which alerts fire at minute 75.
func TestAlertsFire(t *testing.T) {
	const up = "\ntagpin_build_info{version=\"1\"} 1x90"
	for _, tt := range []struct {
		name, series string
		want         []string
	}{
		{"all is well", up + `
			tagpin_admission_reviews_total{mode="enforce",result="patched"} 0+60x90
			tagpin_admission_reviews_total{mode="enforce",result="denied"} 0+1x90
			tagpin_admission_duration_seconds_bucket{le="0.1"} 0+60x90
			tagpin_admission_duration_seconds_bucket{le="+Inf"} 0+60x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="ok",source="registry"} 0+60x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="notFound",source="registry"} 0+60x90
			tagpin_resolve_lookups_total{registry="other",result="ok",source="registry"} 0+60x90
			tagpin_resolve_lookups_total{registry="other",result="unavailable",source="registry"} 0+60x90
			tagpin_keychain_reads_total{kind="secret",result="forbidden"} 0x90
			tagpin_keychain_reads_total{kind="secret",result="missing"} 0+60x90
			tagpin_sibling_lists_total{result="forbidden"} 0x90
			tagpin_registry_pulls_remaining{registry="docker.io"} 90x90
			tagpin_config_last_reload_successful 1x90
			tagpin_registration_rules 3x90
			tagpin_registration_updates_total{result="failed"} 0x90
			tagpin_certificate_renewals_total{result="failed"} 0x90
			tagpin_certificate_expiry_timestamp_seconds{kind="leaf"} 900000x90
			tagpin_certificate_lifetime_seconds{kind="leaf"} 31536000x90
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-webhook"} 2x90
			kube_deployment_spec_replicas{namespace="tagpin-system",deployment="tagpin-webhook"} 2x90
			kube_deployment_status_replicas_unavailable{namespace="tagpin-system",deployment="tagpin-webhook"} 0x90
			kube_deployment_status_replicas_unavailable{namespace="shop",deployment="web"} 2x90
			tagpin_tls_last_reload_successful{files="certificate"} 1x90
			kube_deployment_status_replicas_available{namespace="shop",deployment="web"} 0x90
			kube_deployment_spec_replicas{namespace="shop",deployment="web"} 2x90
			apiserver_admission_webhook_rejection_count{name="enforce.tagpin.dev",error_type="no_error"} 0+9x90
			apiserver_admission_webhook_rejection_count{name="other.example",error_type="calling_webhook_error"} 0+9x90`, nil},
		{"there are no metrics", `tagpin_build_info 1x20`, []string{"TagpinAbsent"}},
		{"a config was refused a moment ago", up + `
			tagpin_config_last_reload_successful 1x72 0x10`, nil},
		{"a replica is missing", up + `
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_spec_replicas{namespace="tagpin-system",deployment="tagpin-webhook"} 2x90`, []string{"TagpinReplicasMissing"}},
		{"a replica is missing, and two jobs measure it", up + `
			kube_deployment_status_replicas_available{job="a",namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_spec_replicas{job="a",namespace="tagpin-system",deployment="tagpin-webhook"} 2x90
			kube_deployment_status_replicas_available{job="b",namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_spec_replicas{job="b",namespace="tagpin-system",deployment="tagpin-webhook"} 2x90`, []string{"TagpinReplicasMissing"}},
		{"a replica has restarted twice, and another program often", up + `
			tagpin_build_info{instance="a"} 1x90
			tagpin_build_info{instance="b"} 1x90
			process_start_time_seconds{instance="a"} 10x30 2000x30 4000x30
			process_start_time_seconds{instance="b"} 10x30 2000x60
			process_start_time_seconds{instance="c"} 0+60x90`, []string{"TagpinRestarts"}},
		{"a replica that restarts is not there at the moment", up + `
			tagpin_build_info{instance="a"} 1x65 _x25
			process_start_time_seconds{instance="a"} 10x30 2000x20 4000x15 _x25`, []string{"TagpinRestarts"}},
		{"the metrics of one of two clusters are gone", `
			tagpin_build_info{cluster="a"} 1x90
			tagpin_build_info{cluster="b"} 1x20`, nil},
		{"an object is admitted unpinned", up + `
			tagpin_admission_reviews_total{mode="enforce",result="patched"} 0+60x90
			tagpin_admission_reviews_total{mode="enforce",result="unpinned"} 0x65 1x25`, []string{"TagpinAdmitsUnpinned"}},
		{"workloads are deferred", up + `
			tagpin_admission_reviews_total{mode="enforce",result="patched"} 0+60x90
			tagpin_admission_reviews_total{mode="enforce",result="deferred"} 0+1x90`, nil},
		{"the API server does not trust the certificate", up + `
			tagpin_connections_closed_total{port="webhook",reason="handshake"} 0+1x90`, []string{"TagpinHandshakesFail"}},
		{"a scanner tries TLS once", up + `
			tagpin_connections_closed_total{port="webhook",reason="handshake"} 0x50 3x40`, nil},
		{"calls fail", up + `
			apiserver_admission_webhook_rejection_count{name="enforce.tagpin.dev",error_type="calling_webhook_error"} 0+1x90
			apiserver_admission_webhook_fail_open_count{name="enforce.tagpin.dev"} 0+1x90`, []string{"TagpinCallsFail", "TagpinPassedBy"}},
		{"a rolling update is stuck", up + `
			kube_deployment_spec_replicas{namespace="tagpin-system",deployment="tagpin-webhook"} 2x90
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-webhook"} 2x90
			kube_deployment_status_replicas_updated{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90`, []string{"TagpinReplicasMissing"}},
		{"a rolling update of one replica is stuck", up + `
			kube_deployment_spec_replicas{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_status_replicas_unavailable{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90
			kube_deployment_status_replicas_updated{namespace="tagpin-system",deployment="tagpin-webhook"} 1x90`, []string{"TagpinReplicasMissing"}},
		{"objects were admitted without tagpin once", up + `
			apiserver_admission_webhook_fail_open_count{name="enforce.tagpin.dev"} _x65 3x25`, []string{"TagpinPassedBy"}},
		{"a tool undoes the registration", up + `
			tagpin_registration_updates_total{result="updated"} 0+1x90`, []string{"TagpinRegistrationContested"}},
		{"the registration was written after a change", up + `
			tagpin_registration_updates_total{result="updated"} 0x70 6x20`, nil},
		{
			"a condition has failed once", up + `
			` + conditionErrors + `{name="enforce.tagpin.dev",kind="webhook"} _x65 1x25`,
			[]string{"TagpinConditionsFail"},
		},
		{
			"the policy's condition has failed again", up + `
			` + conditionErrors + `{name="tagpin-digests",kind="policy"} 1x65 2x25`,
			[]string{"TagpinConditionsFail"},
		},
		{"a condition failed long ago, and one of another webhook fails", up + `
			` + conditionErrors + `{name="enforce.tagpin.dev",kind="webhook"} 0x30 5x60
			` + conditionErrors + `{name="other.example",kind="webhook"} 0+9x90`, nil},
		{"a third of the reviews are denied", up + `
			tagpin_admission_reviews_total{mode="enforce",result="patched"} 0+2x90
			tagpin_admission_reviews_total{mode="enforce",result="denied"} 0+1x90`, []string{"TagpinDenies"}},
		{"the only review is denied", up + `
			tagpin_admission_reviews_total{mode="enforce",result="denied"} 0x70 1x20`, nil},
		{"somebody tries four times in five minutes", up + `
			tagpin_admission_reviews_total{mode="enforce",result="denied"} 0x40 0+1x4 4x45`, nil},
		{"half of the reviews are slow", up + `
			tagpin_admission_duration_seconds_bucket{le="5"} 0+1x90
			tagpin_admission_duration_seconds_bucket{le="10"} 0+2x90
			tagpin_admission_duration_seconds_bucket{le="+Inf"} 0+2x90`, []string{"TagpinSlow"}},
		{"a registry is down", up + `
			tagpin_resolve_lookups_total{registry="ghcr.io",result="ok",source="stale"} 0+1x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="unavailable",source="registry"} 0+3x90`, []string{"TagpinRegistryUnavailable", "TagpinStale"}},
		{"a registry is down, and most lookups use cached digests", up + `
			tagpin_resolve_lookups_total{registry="ghcr.io",result="ok",source="stale"} 0+30x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="unavailable",source="cache"} 0+30x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="ok",source="cache"} 0+30x90
			tagpin_resolve_lookups_total{registry="ghcr.io",result="unavailable",source="registry"} 0+3x90`, []string{"TagpinRegistryUnavailable", "TagpinStale"}},
		{"an unnamed registry is down, and a stale digest is used", up + `
			tagpin_resolve_lookups_total{registry="other",result="ok",source="stale"} 0+1x90`, []string{"TagpinStale"}},
		{"unnamed registries are down", up + `
			tagpin_resolve_lookups_total{registry="other",result="ok",source="cache"} 0+30x90
			tagpin_resolve_lookups_total{registry="other",result="unavailable",source="registry"} 0+3x90`, []string{"TagpinOthersUnavailable"}},
		{"an image of a host that does not exist is deployed now and then", up + `
			tagpin_resolve_lookups_total{registry="other",result="unavailable",source="registry"} 0+0.5x90`, nil},
		{"pulls run out", up + `
			tagpin_registry_requests_total{registry="docker.io",kind="HEAD",answer="200"} 0+1x90
			tagpin_registry_pulls_remaining{registry="docker.io"} 90-2x90`, []string{"TagpinPullsRunOut"}},
		{"pulls have run out for a replica that makes no more requests", up + `
			tagpin_registry_requests_total{instance="a",registry="docker.io",kind="HEAD",answer="200"} 7x90
			tagpin_registry_pulls_remaining{instance="a",registry="docker.io"} 8x90
			tagpin_registry_requests_total{instance="b",registry="docker.io",kind="HEAD",answer="200"} 0+1x90
			tagpin_registry_pulls_remaining{instance="b",registry="docker.io"} 90x90`, nil},
		{"no role for secrets", up + `
			tagpin_keychain_reads_total{kind="secret",result="forbidden"} 0+1x90`, []string{"TagpinForbidden"}},
		{"no role for pods", up + `
			tagpin_sibling_lists_total{result="forbidden"} 0+1x90`, []string{"TagpinForbidden"}},
		{"one replica has refused the config", up + `
			tagpin_config_last_reload_successful{instance="a"} 1x90
			tagpin_config_last_reload_successful{instance="b"} 0x90`, []string{"TagpinConfigRefused"}},
		{"a client CA was refused by one replica", up + `
			tagpin_tls_last_reload_successful{instance="a",files="certificate"} 1x90
			tagpin_tls_last_reload_successful{instance="a",files="client-ca"} 1x90
			tagpin_tls_last_reload_successful{instance="b",files="client-ca"} 0x90`, []string{"TagpinCertificateRefused"}},
		{"a replica has refused the files of a registry", up + `
			tagpin_tls_last_reload_successful{instance="a",files="certificate"} 1x90
			tagpin_tls_last_reload_successful{instance="a",files="registries"} 0x90`, []string{"TagpinCertificateRefused"}},
		{"a CA expires", up + `
			tagpin_certificate_expiry_timestamp_seconds{kind="ca"} 86400x90
			tagpin_certificate_lifetime_seconds{kind="ca"} 315360000x90
			tagpin_certificate_expiry_timestamp_seconds{kind="leaf"} 900000x90
			tagpin_certificate_lifetime_seconds{kind="leaf"} 31536000x90`, []string{"TagpinCertificateExpires"}},
		{"a certificate is valid for a day and renewed in time", up + `
			tagpin_certificate_expiry_timestamp_seconds{kind="leaf"} 36000x90
			tagpin_certificate_lifetime_seconds{kind="leaf"} 86400x90`, nil},
		{"a certificate is valid for a day and not renewed", up + `
			tagpin_certificate_expiry_timestamp_seconds{kind="leaf"} 18000x90
			tagpin_certificate_lifetime_seconds{kind="leaf"} 86400x90`, []string{"TagpinCertificateExpires"}},
		{"the registration is gone", up + `
			tagpin_registration_rules{instance="a"} 0x90
			tagpin_registration_rules{instance="b"} 0x90`, []string{"TagpinNotRegistered"}},
		{"one replica has not read the registration yet", up + `
			tagpin_registration_rules{instance="a"} 3x90
			tagpin_registration_rules{instance="b"} 0x90`, nil},
		{"a bug", up + `
			tagpin_panics_total{instance="a"} 0x65 1x25`, []string{"TagpinBug"}},
		{"connections are refused", up + `
			tagpin_connections_closed_total{port="webhook",reason="cut"} 0x62 3x28`, []string{"TagpinConnectionsRefused"}},
		{"connections to the metrics port are refused, and some are displaced", up + `
			tagpin_connections_closed_total{port="webhook",reason="displaced"} 0x62 3x28
			tagpin_connections_closed_total{port="metrics",reason="refused"} 0+1x90`, nil},
		{"a queue refuses lookups that waited too long", up + `
			tagpin_queue_refused_total{queue="lookups",reason="late"} 0+1x90`, []string{"TagpinQueueRefuses"}},
		{"one of two replicas finds the registration as it wants it", up + `
			tagpin_registration_as_wanted{instance="a",webhook="enforce.tagpin.dev"} 0x90
			tagpin_registration_as_wanted{instance="b",webhook="enforce.tagpin.dev"} 1x90`, nil},
		{"no replica finds one of the webhooks as it wants it", up + `
			tagpin_registration_as_wanted{instance="a",webhook="enforce.tagpin.dev"} 1x90
			tagpin_registration_as_wanted{instance="a",webhook="keep.tagpin.dev"} 1x40 0x50
			tagpin_registration_as_wanted{instance="b",webhook="keep.tagpin.dev"} 0x90`, []string{"TagpinRegistrationDiffers"}},
		{"the registration was edited a moment ago", up + `
			tagpin_registration_as_wanted{webhook="keep.tagpin.dev"} 1x70 0x20`, nil},
		{"the registry no longer has an image", up + `
			tagpin_audit_gone_containers{workload_namespace="shop",workload="Deployment/web"} 0x62 3x28`, []string{"TagpinImageGone"}},
		{"an audit ends each hour", up + `
			tagpin_audit_interval_seconds 3600x90
			tagpin_audit_last_report_timestamp_seconds 60x60 3660x30
			tagpin_audit_gone_containers{workload_namespace="shop",workload="Deployment/web"} 3x60 _x30
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-audit"} 1x90`, nil},
		{"no audit ends, which should be every ten minutes", up + `
			tagpin_audit_interval_seconds 600x90
			tagpin_audit_last_report_timestamp_seconds 60x90`, []string{"TagpinAuditFails"}},
		{"the metrics of the audit have vanished", up + `
			tagpin_audit_interval_seconds 600x30 _x60
			tagpin_audit_last_report_timestamp_seconds 60x30 _x60`, []string{"TagpinAuditFails"}},
		{"the audit restarts every ten minutes", up + `
			tagpin_audit_interval_seconds{instance="a"} 3600x90
			process_start_time_seconds{instance="a"} 0x10 600x10 1200x10 1800x10 2400x10 3000x10 3600x10 4200x10`, []string{"TagpinAuditFails"}},
		{"the audit ends before each report, and never had one", up + `
			tagpin_audit_interval_seconds{instance="a"} 900x90
			process_start_time_seconds{instance="a"} 0x30 1800x30 3600x30`, []string{"TagpinAuditFails"}},
		{"the audit ends before each report since a while, and was moved to other nodes", up + `
			tagpin_audit_interval_seconds{instance="a"} 600x30 _x60
			tagpin_audit_interval_seconds{instance="b"} _x30 600x30 _x30
			tagpin_audit_interval_seconds{instance="c"} _x60 600x30
			tagpin_audit_last_report_timestamp_seconds{instance="a"} _x5 300x25 _x60`, []string{"TagpinAuditFails"}},
		{"the first audit is under way after an update, and the last one was in time", up + `
			tagpin_audit_interval_seconds{instance="a"} 3600x40 _x50
			tagpin_audit_interval_seconds{instance="b"} _x40 3600x50
			tagpin_audit_last_report_timestamp_seconds{instance="a"} _x5 300x35 _x50`, nil},
		{"the first audit is under way", up + `
			tagpin_audit_interval_seconds 3600x90`, nil},
		{"an audit reaches no registry", up + `
			tagpin_audit_interval_seconds 3600x90
			tagpin_audit_last_report_timestamp_seconds 60x90
			tagpin_audit_containers{workload_namespace="shop",state="pinned"} 3x90
			tagpin_audit_containers{workload_namespace="shop",state="unknown"} 7x90
			tagpin_audit_containers{workload_namespace="data",state="unpinned"} 3x90
			tagpin_audit_containers{workload_namespace="data",state="exempt"} 1x90
			tagpin_audit_lookup_failed_containers 6x90
			tagpin_audit_unread_parts 0x90`, []string{"TagpinAuditIncomplete"}},
		{"a few lookups of an audit fail", up + `
			tagpin_audit_interval_seconds 3600x90
			tagpin_audit_last_report_timestamp_seconds 60x90
			tagpin_audit_containers{workload_namespace="shop",state="pinned"} 7x90
			tagpin_audit_containers{workload_namespace="shop",state="unknown"} 3x90
			tagpin_audit_lookup_failed_containers 3x90
			tagpin_audit_unread_parts 0x90`, nil},
		{"an audit can't read a part of the cluster", up + `
			tagpin_audit_interval_seconds 3600x90
			tagpin_audit_last_report_timestamp_seconds 60x90
			tagpin_audit_containers{workload_namespace="shop",state="pinned"} 7x90
			tagpin_audit_lookup_failed_containers 0x90
			tagpin_audit_unread_parts 1x90`, []string{"TagpinAuditIncomplete"}},
		{"an audit finds no container", up + `
			tagpin_audit_interval_seconds 3600x90
			tagpin_audit_last_report_timestamp_seconds 60x90
			tagpin_audit_lookup_failed_containers 0x90
			tagpin_audit_unread_parts 0x90`, nil},
		{"another release's audit does not run, in another namespace", up + `
			kube_deployment_status_replicas_available{namespace="shop",deployment="tagpin-audit"} 0x90`, nil},
		{"the audit runs and has never had metrics", up + `
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-audit"} 1x90`, []string{"TagpinAuditFails"}},
		{"the audit does not run", up + `
			kube_deployment_status_replicas_available{namespace="tagpin-system",deployment="tagpin-audit"} 0x90`, []string{"TagpinAuditFails"}},
		{"the certificate can't be renewed", up + `
			tagpin_certificate_renewals_total{result="failed"} 0+1x90`, []string{"TagpinUpkeepFails"}},
		{"the registration can't be written", up + `
			tagpin_registration_updates_total{result="failed"} 0+1x90
			tagpin_certificate_renewals_total{result="failed"} 0x90`, []string{"TagpinUpkeepFails"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := firing(t, tt.series, time.Unix(75*60, 0))
			if !slices.Equal(got, tt.want) {
				t.Errorf("alerts %q fire, want %q", got, tt.want)
			}
		})
	}
}

// TestAuditFailsWithLongIntervals checks that the alert also fires if three intervals are longer
// than the windows of its query, and the audit has restarted.
func TestAuditFailsWithLongIntervals(t *testing.T) {
	const alert, day = "TagpinAuditFails", 24 * 12 // samples
	only := map[string]rulefmt.Rule{alert: rules(t)[alert]}
	for _, tt := range []struct {
		name, interval, series string
		from                   int // the day when it fires, or 0
	}{
		{"it never had a report", "259200", "", 6},
		{"it had one before it restarted", "259200", fmt.Sprintf(
			"tagpin_audit_last_report_timestamp_seconds{instance=\"b\"} 60x%d _x%d", day, 7*day), 8},
		{"it has one in each interval", "864000", fmt.Sprintf(
			"tagpin_audit_last_report_timestamp_seconds{instance=\"a\"} 60x%d", 8*day), 0},
	} {
		series := fmt.Sprintf("tagpin_audit_interval_seconds{instance=\"a\"} %sx%d\n%s",
			tt.interval, 9*day, tt.series)
		end := time.Unix(9*24*3600, 0)
		from := 0
		if times := fired(t, "5m", strings.TrimSpace(series), only, end)[alert]; len(times) > 0 {
			from = int(times[0].Unix() / (24 * 3600))
		}
		if from != tt.from {
			t.Errorf("%s: fires from day %d on, want %d", tt.name, from, tt.from)
		}
	}
}

// firing returns the alerts that fire at a time.
func firing(t *testing.T, series string, at time.Time) []string {
	t.Helper()
	var names []string
	for alert, times := range fired(t, "1m", series, rules(t), at) {
		if slices.Contains(times, at) {
			names = append(names, alert)
		}
	}
	slices.Sort(names)
	return names
}

// fired loads series that have a sample in each step, evaluates rules once a minute, and returns
// the times at which each alert fired.
func fired(
	t *testing.T, step, series string, all map[string]rulefmt.Rule, end time.Time,
) map[string][]time.Time {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(series), "\n")
	for i := range lines {
		lines[i] = "  " + strings.TrimSpace(lines[i])
	}
	storage := promqltest.LoadedStorage(t, "load "+step+"\n"+strings.Join(lines, "\n")+"\n")
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1e6)
	times := map[string][]time.Time{}
	for alert, r := range all {
		query, err := engine.NewRangeQuery(t.Context(), storage, nil, r.Expr,
			time.Unix(0, 0), end, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		matrix, err := query.Exec(t.Context()).Matrix()
		if err != nil {
			t.Fatalf("%s: %v", alert, err)
		}
		for _, s := range matrix {
			times[alert] = append(times[alert], firingTimes(r, s.Floats, end)...)
		}
		query.Close()
	}
	return times
}

// firingTimes returns the minutes in which an alert fires whose query has these results. It fires
// when there were results for its "for" duration, until there were none for its "keep_firing_for".
func firingTimes(r rulefmt.Rule, results []promql.FPoint, end time.Time) []time.Time {
	present := map[time.Time]bool{}
	for _, p := range results {
		present[time.UnixMilli(p.T)] = true
	}
	var all []time.Time
	var since, last time.Time
	pending, firing := false, false
	for at := time.Unix(0, 0); !at.After(end); at = at.Add(time.Minute) {
		switch {
		case present[at] && !pending:
			pending, since, last = true, at, at
		case present[at]:
			last = at
		case !firing || at.Sub(last) >= time.Duration(r.KeepFiringFor):
			pending, firing = false, false
		}
		firing = firing || pending && at.Sub(since) >= time.Duration(r.For)
		if firing {
			all = append(all, at)
		}
	}
	return all
}
