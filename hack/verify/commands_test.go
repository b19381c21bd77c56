// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// logsProblem returns what is wrong with a line of a page if it has a command that selects pods of
// the webhook, or "". The name tagpin is also that of the pods of the audit and of helm test.
// Without --ignore-errors, kubectl prints no further logs after an error, such as that of a pod
// which has not started.
func logsProblem(line string) string {
	switch {
	case !strings.Contains(line, "kubectl"):
	case strings.Contains(line, "app.kubernetes.io/name=tagpin"):
		return "selects other pods too; want app.kubernetes.io/component=webhook"
	case strings.Contains(line, " logs ") && strings.Contains(line, "component=") &&
		!strings.Contains(line, "--ignore-errors"):
		return "stops at a pod that has not started; want --ignore-errors"
	}
	return ""
}

func TestCommandsReadTheWebhooksLogs(t *testing.T) {
	read := 0
	for _, name := range files(t) {
		if filepath.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if problem := logsProblem(line); problem != "" {
				t.Errorf("%s: %q %s", name, strings.TrimSpace(line), problem)
			}
			if strings.Contains(line, "component=webhook --ignore-errors") {
				read++
			}
		}
	}
	if read < 10 {
		t.Errorf("%d commands read the webhook's logs, want at least 10: has their form changed?", read)
	}
}

func TestLogsProblem(t *testing.T) {
	for line, want := range map[string]bool{
		"kubectl logs -l app.kubernetes.io/name=tagpin --ignore-errors":                   true,
		"kubectl get pods --selector app.kubernetes.io/name=tagpin":                       true,
		"kubectl logs --selector app.kubernetes.io/component=webhook --tail 50":           true,
		"kubectl logs --selector app.kubernetes.io/component=webhook --ignore-errors":     false,
		"kubectl get pods --selector app.kubernetes.io/component=webhook --output wide":   false,
		"The pods have the label `app.kubernetes.io/name=tagpin`, and logs of their own.": false,
	} {
		if got := logsProblem(line); (got != "") != want {
			t.Errorf("logsProblem(%q) = %q, want a problem: %t", line, got, want)
		}
	}
}
