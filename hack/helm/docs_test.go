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

// TestDocs renders the chart with each example of values in the docs, and reads each example of a config.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../deploy/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
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
			case slices.Contains([]string{"credentials.md", "private-clusters.md", "README.md"}, filepath.Base(page)):
				if _, err := render(values(t, example)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
			default: // of other projects, or of a workload
				continue
			}
			examples++
		}
	}
	if examples < 8 {
		t.Errorf("%d examples, want more", examples)
	}
}
