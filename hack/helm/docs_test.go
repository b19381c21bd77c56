// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/tagpin/tagpin/pkg/config"
)

// yamlBlock matches an example in a page, which may be indented.
var yamlBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```$")

// TestDocs renders the chart with each example of values in the docs. It parses each example of a
// config file, and validates it with the schema.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../../deploy/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	withValues := []string{"clusters.md", "credentials.md", "mirrors.md", "private-clusters.md"}
	pages = append(pages, "../../README.md", "../../pkg/config/README.md", "../../deploy/templates/README.md")
	schema := configSchema(t)
	examples := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range yamlBlock.FindAllStringSubmatch(string(text), -1) {
			example := strings.ReplaceAll("\n"+match[2], "\n"+match[1], "\n")[1:]
			switch {
			case strings.Contains(example, "kind: Config\n"):
				if _, err := config.Parse([]byte(example)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
				if err := validate(t, schema, example); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
			case slices.Contains(withValues, filepath.Base(page)) || strings.HasPrefix(example, "config:\n"):
				if _, err := render(values(t, example)); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
			default: // an example of a workload, or for another program
				var content any
				if err := yaml.Unmarshal([]byte(example), &content); err != nil {
					t.Errorf("%s: %v\n%s", page, err, example)
				}
				continue
			}
			examples++
		}
	}
	if examples < 12 {
		t.Errorf("the docs have %d examples, want at least 12", examples)
	}
}
