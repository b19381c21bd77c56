// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestManifests checks the output for several configs. After a mistake, nothing is printed.
func TestManifests(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const head = "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"
	kinds := file("kinds.yaml", head+"refreshOnRestart: false\ncertificates: {service: pins}\ntemplates:\n"+
		"- {group: g.example, kind: Proxy, paths: [spec.template]}\n- {group: g.example, kind: Ox, resource: oxen, paths: [\"spec.a[*].template\"]}\n")
	for _, tt := range []struct {
		args []string
		code int
		want []string
	}{
		{nil, 0, []string{"name: zz-tagpin", "{namespace: tagpin-system, name: tagpin-webhook, path: /enforce}"}},
		{[]string{"--config", kinds, "--namespace", "ns"}, 0, []string{"resources: [proxies, oxen]", "{namespace: ns, name: pins, path: /keep}", "['tagpin.dev/refresh']"}},
		{[]string{"--pods-only", "--fail-open"}, 0, []string{"failurePolicy: Ignore"}},
		{[]string{"--fail-open"}, 2, []string{"only pods are pinned"}},
		{[]string{"--config", file("bad.yaml", head+"templates: [{group: g, kind: K, resource: A_B, paths: [\"a'b\"]}]\n")}, 2, []string{"templates[0]", "templates[0].resource"}},
		{[]string{"--config", filepath.Join(dir, "none")}, 2, []string{"none"}},
		{[]string{"--ca-file", file("ca", "no PEM")}, 2, []string{"no PEM certificate"}},
		{[]string{"--ca-file", filepath.Join(dir, "none")}, 2, []string{"none"}},
		{[]string{"--default-mode", "dry-run", "--excluded-namespaces", "istio-system,off"}, 0, []string{
			`operator: In, values: [enforce]}`, `operator: NotIn, values: [enforce, keep, "off"]}`, `[kube-system, kube-node-lease, tagpin-system, istio-system, "off"]}`,
		}},
		{[]string{"--print", "policy", "--default-mode", "enforce", "--excluded-namespaces", "istio-system"}, 0, []string{
			`operator: NotIn, values: [dry-run, keep, "off"]}`, `[kube-system, kube-node-lease, tagpin-system, istio-system]}`,
		}},
		{[]string{"--default-mode", "keep", "--excluded-namespaces", "a, b"}, 2, []string{`default mode "keep": want enforce or dry-run`, `" b" is not a valid name`}},
		{[]string{"--print", "gatekeeper", "--default-mode", "off"}, 2, []string{`default mode "off"`}},
		{[]string{"--flag-of-tomorrow"}, 2, []string{"flag-of-tomorrow"}},
		{[]string{"more"}, 2, []string{`unexpected argument "more"`}},
		{[]string{"--help"}, 0, []string{"-pods-only"}},
	} {
		var stdout, stderr bytes.Buffer
		args := append([]string{"manifests"}, tt.args...)
		if got := run(t.Context(), args, &stdout, &stderr); got != tt.code {
			t.Errorf("manifests %s = %d, want %d", tt.args, got, tt.code)
		}
		if tt.code != 0 && stdout.Len() > 0 {
			t.Errorf("manifests %s failed, but wrote %s", tt.args, stdout.String())
		}
		for _, want := range tt.want {
			if !strings.Contains(stdout.String()+stderr.String(), want) {
				t.Errorf("manifests %s: %q is not in\n%s%s", tt.args, want, stdout.String(), stderr.String())
			}
		}
	}
}
