// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
)

// renderedRules returns the rules of the PrometheusRule by the names of their alerts.
func renderedRules(t *testing.T, text string) map[string]object {
	t.Helper()
	spec := at(rendered(t, text)["PrometheusRule tagpin-webhook"], "spec")
	all := map[string]object{}
	for _, r := range at(spec, "groups", 0, "rules").([]any) {
		rule := r.(object)
		all[rule["alert"].(string)] = rule
	}
	return all
}

// TestAlertValues checks what the values of prometheusRule change in the alerts.
func TestAlertValues(t *testing.T) {
	before := renderedRules(t, "{prometheusRule: {enabled: true}}")
	after := renderedRules(t, `{prometheusRule: {enabled: true, disabled: [TagpinStale, TagpinBug],
		alertLabels: {team: platform, severity: page}, runbooks: "https://wiki.example/tagpin",
		thresholds: {TagpinDenies: 0.9, TagpinRestarts: 0, TagpinPullsRunOut: 2000000}}}`)
	for alert := range before {
		rule, disabled := after[alert], alert == "TagpinStale" || alert == "TagpinBug"
		if (rule == nil) != disabled {
			t.Errorf("%s is left out: %t, want %t", alert, rule == nil, disabled)
		}
		if disabled {
			continue
		}
		if got := at(rule, "labels", "team"); got != "platform" {
			t.Errorf("%s has the label team: %v, want platform", alert, got)
		}
		got, want := at(rule, "labels", "severity"), at(before[alert], "labels", "severity")
		if got != want {
			t.Errorf("%s has the severity %v, want its own, %v", alert, got, want)
		}
		url := "https://wiki.example/tagpin#" + strings.ToLower(alert)
		if got := at(rule, "annotations", "runbook_url"); got != url {
			t.Errorf("%s has the runbook %v, want %s", alert, got, url)
		}
	}
	for alert, want := range map[string]string{
		"TagpinDenies": "> (0.9) and", "TagpinRestarts": "> (0)", "TagpinPullsRunOut": "< (2e+06)",
		"TagpinSlow": "> (0.5) * 10",
	} {
		if got := at(after[alert], "expr").(string); !strings.Contains(got, want) {
			t.Errorf("the expression of %s is %s, want %q in it", alert, got, want)
		}
	}
}

// TestAlertsOfTheRelease checks that the alerts about Deployments are about those in the namespace
// of the release. A tenant may have one of the same name.
func TestAlertsOfTheRelease(t *testing.T) {
	files, err := renderIn("pins", values(t, "{prometheusRule: {enabled: true}}"))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, file := range files {
		text += file
	}
	selectors := regexp.MustCompile(`kube_deployment_\w+\{[^}]*\}`).FindAllString(text, -1)
	for _, selector := range selectors {
		if !strings.Contains(selector, `namespace="pins"`) {
			t.Errorf("%s does not select the namespace of the release", selector)
		}
	}
	if len(selectors) < 7 {
		t.Errorf("%d selectors of Deployments, want those of two alerts", len(selectors))
	}
}

// TestThresholds checks that each threshold in the values is one of its alert, and the other way
// round. TestFiles checks that their defaults are those of the alerts.
func TestThresholds(t *testing.T) {
	file, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	thresholds := at(values(t, string(file)), "prometheusRule", "thresholds").(object)
	properties := at(schemaFile(t), "properties", "prometheusRule", "properties", "thresholds",
		"properties").(object)
	for alert, rule := range renderedRules(t, "{prometheusRule: {enabled: true}}") {
		want := regexp.MustCompile(`\([0-9.]+\)`).MatchString(rule["expr"].(string))
		_, inValues := thresholds[alert]
		_, inSchema := properties[alert]
		if inValues != want || inSchema != want {
			t.Errorf("%s has a threshold in the values: %t, in the schema: %t, want %t",
				alert, inValues, inSchema, want)
		}
	}
}

// TestAlertsByCluster checks that each aggregation and each match on labels in the alerts keeps
// the labels of groupBy.
func TestAlertsByCluster(t *testing.T) {
	rules := renderedRules(t, "{prometheusRule: {enabled: true, groupBy: [cluster, region]}}")
	labels := regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	found := 0
	for alert, rule := range rules {
		for _, m := range labels.FindAllStringSubmatch(rule["expr"].(string), -1) {
			found++
			if m[1] != "cluster, region" && !strings.HasPrefix(m[1], "cluster, region, ") {
				t.Errorf("%s has %s, want cluster and region first", alert, m[0])
			}
		}
	}
	if found < len(rules) {
		t.Errorf("the %d alerts have %d aggregations, want at least one each", len(rules), found)
	}
}

// TestDashboardOfClusters checks that the dashboard selects clusters by the label of the values.
func TestDashboardOfClusters(t *testing.T) {
	all := rendered(t, "{dashboard: {enabled: true, clusterLabel: k8s}}")
	text := at(all["ConfigMap tagpin-dashboard"], "data", "tagpin.json").(string)
	for _, want := range []string{
		`{k8s=~\"$cluster\", namespace=~\"$namespace\"}`, `on (k8s, instance, namespace)`,
		`label_values(tagpin_build_info, k8s)`, `"name": "cluster"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the dashboard lacks %s", want)
		}
	}
	if other := regexp.MustCompile(`\bcluster(=~|,|\))`).FindString(text); other != "" {
		t.Errorf("the dashboard uses the label cluster: %s", other)
	}
}

// TestPagesOfTheVersion checks that a released chart links to the pages of its version.
func TestPagesOfTheVersion(t *testing.T) {
	for version, ref := range map[string]string{
		"1.2.3": "v1.2.3", "v1.2.3-rc.1": "v1.2.3-rc.1", "latest": "main", "0123abc": "main",
	} {
		chart, err := loader.LoadDir(chartDir)
		if err != nil {
			t.Fatal(err)
		}
		chart.Metadata.AppVersion = version
		on := values(t, "{image: {tag: a}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}")
		all, err := util.ToRenderValues(chart, on, common.ReleaseOptions{Namespace: namespace}, nil)
		if err != nil {
			t.Fatal(err)
		}
		files, err := engine.Render(chart, all)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"prometheusrule.yaml", "dashboard.yaml", "NOTES.txt"} {
			text := files["tagpin/templates/"+file]
			links := regexp.MustCompile(`/blob/([^/]+)/`).FindAllStringSubmatch(text, -1)
			if len(links) == 0 {
				t.Errorf("%s has no links:\n%s", file, text)
			}
			for _, l := range links {
				if l[1] != ref {
					t.Errorf("%s of version %s links to %s, want %s", file, version, l[1], ref)
				}
			}
		}
	}
}
