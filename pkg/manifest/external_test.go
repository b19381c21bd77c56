// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/manifest"
	"github.com/tagpin/tagpin/pkg/workload"
)

func TestExternal(t *testing.T) {
	const (
		release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\n"
		app     = "apiVersion: argoproj.io/v1alpha1\nkind: Application\n"
		set     = "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\n"
	)
	for _, tt := range []struct{ text, want string }{
		{release + "spec: {chart: {spec: {chart: podinfo}}}", "3:30 podinfo"},
		{release + "spec: {chartRef: {kind: OCIRepository, name: a}}", "3:46 a"},
		{release + "spec: {chart: {spec: {chart: ./a, sourceRef: {kind: GitRepository}}}}", ""},
		{release + "spec: {values: {image: a}}", ""},
		{release + "spec: {chart: {spec: {chart: a}}} # tagpin:ignore", ""},
		{
			"kind: List\napiVersion: v1\nitems:\n- apiVersion: helm.toolkit.fluxcd.io/v2\n" +
				"  kind: HelmRelease\n  spec: {chart: {spec: {chart: a}}}", "6:32 a",
		},
		{app + "spec: {source: {repoURL: x, chart: a}, sources: [{chart: b}, {path: c}]}", "3:36 a, 3:58 b"},
		{set + "spec: {template: {spec: {source: {chart: a}}}}", "3:42 a"},
		{"helmCharts: [{name: a, repo: 'https://x'}, {name: b}]", "1:21 a"},
		{"HelmCharts: [{Repo: 'oci://x', Name: a}]", "1:38 a"},
		{"helmChartInflationGenerator: [{chartName: a, chartRepoUrl: 'https://x'}]", "1:43 a"},
		{"apiVersion: builtin\nkind: HelmChartInflationGenerator\nname: a\nrepo: x", "3:7 a"},
		{
			"resources: [a.yaml, ../b, 'https://x/y', 'git@x:y.git', github.com/x/y, 'x.org/y?ref=v1']",
			"1:27 https://x/y, 1:42 git@x:y.git, 1:57 github.com/x/y, 1:73 x.org/y?ref=v1",
		},
		{"resources: [a.yaml]\nresources: ['https://x/y']", "2:13 https://x/y"},
	} {
		f, err := manifest.ParseAs("a.yaml", "kustomization.yaml", []byte(tt.text), new(workload.Table))
		if err != nil {
			t.Errorf("ParseAs(%q): %v", tt.text, err)
			continue
		}
		var got []string
		for _, e := range f.External {
			got = append(got, fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Name))
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("External of %q: -want +got\n%s", tt.text, diff)
		}
	}
}
