// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tagpin/tagpin/pkg/manifest"
)

func TestReferencedIn(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"resources: [a, b]\nbases: [c]\ncomponents: [d]", "a b c d"},
		{"Resources: [a]\nPATCHES: [{Path: b}]", "a b"},
		{"patches: [{path: a, patch: x}, {patch: y}, z]", "a"},
		{"helmCharts: [{valuesFile: a, additionalValuesFiles: [b], name: x}]", "a b"},
		{"resources: [a]\nresources: [b]", "a b"},
		{"x: &x {resources: [a]}\n<<: *x", "a"},
		{
			"x: &x [a]\nresources: *x\nhelmCharts: [{additionalValuesFiles: *x}, {additionalValuesFiles: *x}]",
			"a a",
		},
		{`{"resources": ["a"]}`, "a"},
		{
			"configMapGenerator: [{name: x, files: [values.yaml=a.txt, b/values-prod.yaml, c.txt]}]",
			"a.txt b/values-prod.yaml",
		},
		{"SecretGenerator: [{Files: [Values.YML=a=b, other.yaml=values.yaml, values.yaml=]}]", "a=b"},
		{"configMapGenerator: [{envs: [values.yaml=a], files: {a: values.yaml=b}}, [values.yaml=c]]", "b"},
		{"resources: [a]\n---\nb: [", "a"},
		{"resources: a\npatches: {path: b}\nhelmCharts: [[{valuesFile: c}]]\n? [resources]\n: [d]", ""},
		{"resources: [1, null, '', [a], {b: c}]\ncrds: [d]\nimages: [{name: e}]", ""},
		{"- resources: [a]", ""},
		{"resources", ""},
		{"", ""},
		{"\x00", ""},
	} {
		var got []string
		for _, r := range manifest.ReferencedIn([]byte(tt.text)) {
			got = append(got, r.Path)
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("ReferencedIn(%q): -want +got\n%s", tt.text, diff)
		}
	}
}

func TestReferencedAs(t *testing.T) {
	const text = "resources: [a]\nhelmCharts: [{valuesFile: a}]"
	files := manifest.ReferencedIn([]byte(text))
	for path, want := range map[string][2]string{
		"a.txt":        {"a.txt", "values.yaml"},
		"x/values.yml": {"x/values.yml", "x/values.yml"},
		"x/Dockerfile": {"manifest.yaml", "values.yaml"},
		"x/a.yaml":     {"x/a.yaml", "values.yaml"},
	} {
		if got := [2]string{files[0].As(path), files[1].As(path)}; got != want {
			t.Errorf("As(%q) of a resource and of values = %q, want %q", path, got, want)
		}
	}
}
