// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/config"
)

// TestDocs renders the chart with each example of values in the docs, and parses each example of a
// config file.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../deploy/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	withValues := []string{"credentials.md", "private-clusters.md", "README.md"}
	examples := 0
	for _, page := range append(pages, "../../deploy/templates/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "\n```yaml\n")[1:] {
			example, _, _ := strings.Cut(block, "\n```")
			switch {
			case strings.Contains(example, "kind: Config\n"):
				if _, err := config.Parse([]byte(example)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
			case slices.Contains(withValues, filepath.Base(page)):
				if _, err := render(values(t, example)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
			default: // an example of a workload, or for another program
				continue
			}
			examples++
		}
	}
	if examples < 8 {
		t.Errorf("the docs have %d examples, want at least 8", examples)
	}
}
