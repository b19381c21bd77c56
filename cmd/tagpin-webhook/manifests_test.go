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
	short := file("short.yaml", head+"shortNames: leave\n")
	registered := file("registered.yaml", head+`registration:
  defaultMode: dry-run
  excludedNamespaces: [istio-system]
  namespaceSelector: {matchLabels: {team: "1"}, matchExpressions: [{key: tier, operator: Exists}]}
  objectSelector: {matchLabels: {pin: "true"}}
  timeoutSeconds: 7
`)
	open := file("open.yaml", head+"registration: {pin: [pods], failurePolicy: Ignore, keepOnly: true}\n")
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
		{[]string{"--print", "policy", "--config", short}, 0, []string{`name: leaveShortNames
    expression: "true"`}},
		{[]string{"--print", "gatekeeper", "--config", short}, 0, []string{"leaveShortNames: true"}},
		{[]string{"--default-mode", "keep", "--excluded-namespaces", "a, b"}, 2, []string{`default mode "keep": want enforce or dry-run`, `" b" is not a valid name`}},
		{[]string{"--print", "gatekeeper", "--default-mode", "off"}, 2, []string{`default mode "off"`}},
		{[]string{"--config", registered}, 0, []string{
			`operator: NotIn, values: [enforce, keep, "off"]}`, "tagpin-system, istio-system]}", "timeoutSeconds: 7",
			`{key: team, operator: In, values: ["1"]}`, "{key: tier, operator: Exists}",
			"name: pod-or-selected", "object.?metadata.?labels[?'pin'].orValue('') in ['true']",
		}},
		{[]string{"--config", registered, "--print", "policy"}, 0, []string{
			`{key: team, operator: In, values: ["1"]}`, "objectSelector:", `{key: pin, operator: In, values: ["true"]}`,
		}},
		{[]string{"--config", registered, "--print", "gatekeeper"}, 0, []string{"{key: tier, operator: Exists}"}},
		{[]string{"--config", registered, "--default-mode", "enforce", "--excluded-namespaces", "a"}, 0, []string{
			`operator: NotIn, values: [dry-run, keep, "off"]}`, "tagpin-system, a]}",
		}},
		{[]string{"--config", registered, "--pods-only"}, 2, []string{"requires that workloads are pinned"}},
		{[]string{"--config", open}, 0, []string{"failurePolicy: Ignore", "operator: In, values: [enforce, dry-run, keep]}", "operator: DoesNotExist"}},
		{[]string{"--flag-of-tomorrow"}, 2, []string{"flag-of-tomorrow"}},
		{[]string{"more"}, 2, []string{`unexpected argument "more"`}},
		{[]string{"--default-mode", ""}, 2, []string{"--default-mode has an empty value"}},
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

// TestManifestsOfStandardInput checks that a config can come from the standard input, and that a
// mistake in it is reported.
func TestManifestsOfStandardInput(t *testing.T) {
	const head = "apiVersion: tagpin.dev/v1alpha1\nkind: Config\n"
	for _, tt := range []struct {
		text string
		code int
		want string
	}{
		{head + "registration: {timeoutSeconds: 7}\n", exitOK, "timeoutSeconds: 7"},
		{head + "tiempo: 7\n", exitUsage, "config: standard input: line 3: field tiempo is unknown"},
		{"", exitUsage, "config: standard input: apiVersion"},
		{head + "# " + strings.Repeat("x", 1<<20), exitUsage, "config: standard input: larger than 1048576 bytes"},
	} {
		var stdout, stderr bytes.Buffer
		code := manifests([]string{"--config", "-"}, strings.NewReader(tt.text), &stdout, &stderr)
		said := stdout.String() + stderr.String()
		if code != tt.code || !strings.Contains(said, tt.want) {
			t.Errorf("manifests of %.80q = %d, %.2000s, want %d and %q", tt.text, code, said, tt.code, tt.want)
		}
	}
}

// TestManifestsReportFiles checks that a TLS file that is missing or unusable is reported, and that
// the manifests are printed all the same.
func TestManifestsReportFiles(t *testing.T) {
	dir := t.TempDir()
	(&instance{t: t}).certificates(dir)
	config := func(ca string) string {
		return "apiVersion: tagpin.dev/v1alpha1\nkind: Config\nregistries: [{host: registry.example, caFile: " + ca + "}]\n"
	}
	missing, good := filepath.Join(dir, "missing.crt"), filepath.Join(dir, "tls.crt")
	for ca, want := range map[string]string{
		missing: "note: as seen from here, the server would refuse this config: registry registry.example: ", good: "",
	} {
		var stdout, stderr bytes.Buffer
		code := manifests([]string{"--config", "-"}, strings.NewReader(config(ca)), &stdout, &stderr)
		if code != exitOK || !strings.Contains(stdout.String(), "name: zz-tagpin") {
			t.Errorf("with %s: %d, %s, want the registration", ca, code, stdout.String())
		}
		note := stderr.String()
		if (want == "") != (note == "") || !strings.Contains(note, want) || want != "" && !strings.Contains(note, missing) {
			t.Errorf("with %s: stderr %q, want %q and the file", ca, note, want)
		}
	}
}
