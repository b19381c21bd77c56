// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKubernetesVersions checks that the chart and the docs name the versions of Kubernetes that
// the tests run with.
func TestKubernetesVersions(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	folders, err := os.ReadDir(filepath.Join(root, "e2e/versions"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("e2e/versions has %d folders, %v, want at least one", len(folders), err)
	}
	oldest := folders[0].Name() // they are sorted, and all minor versions have two digits
	newest := regexp.MustCompile(`(?m)^\tk8s\.io/kubernetes v(1\.\d\d)\.`).FindStringSubmatch(read("e2e/go.mod"))
	if newest == nil {
		t.Fatal("e2e/go.mod requires no k8s.io/kubernetes")
	}
	var tested []string
	for _, folder := range folders {
		tested = append(tested, folder.Name())
	}
	list := strings.Join(tested, ", ") + " and " + newest[1]
	for name, want := range map[string]string{
		"deploy/chart/Chart.yaml":   `kubeVersion: ">=` + oldest + `.0-0"`,
		"deploy/README.md":          "You need Kubernetes " + oldest + " or newer",
		"deploy/docs/upgrading.md":  "tested with " + list,
		"deploy/policies/README.md": "tested with " + list,
	} {
		if text := strings.Join(strings.Fields(read(name)), " "); !strings.Contains(text, want) {
			t.Errorf("%s does not say %q", name, want)
		}
	}
}
