// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valueTable returns a table of the chart's values.
func valueTable(context.Context) (string, error) {
	data, err := os.ReadFile("deploy/chart/values.yaml")
	if err != nil {
		return "", err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		return "", err
	}
	if len(document.Content) != 1 {
		return "", errors.New("the file has no values")
	}
	var b strings.Builder
	b.WriteString("| value | default | |\n|---|---|---|\n")
	err = addValues(&b, "", document.Content[0])
	return b.String(), err
}

// addValues adds the values of a mapping. If a value has no comment, it must be a mapping of values
// with comments.
func addValues(b *strings.Builder, path string, mapping *yaml.Node) error {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := path + key.Value
		switch about := comment(key.HeadComment); {
		case about != "":
			text, err := flow(value)
			if err != nil {
				return err
			}
			if strings.Contains(text, "\n") {
				return fmt.Errorf("value %s and values below it have comments", name)
			}
			fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", name, text, about)
		case value.Kind != yaml.MappingNode || len(value.Content) == 0:
			return fmt.Errorf("value %s has no comment", name)
		default:
			if err := addValues(b, name+".", value); err != nil {
				return err
			}
		}
	}
	return nil
}

// comment returns the text of a comment as one line.
func comment(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll("\n"+text, "\n#", "\n")), " ")
}

// flow returns a value as one line of YAML.
func flow(n *yaml.Node) (string, error) {
	c := *n
	if c.Kind != yaml.ScalarNode {
		c.Style = yaml.FlowStyle
	}
	c.LineComment, c.FootComment = "", ""
	text, err := yaml.Marshal(&c)
	return strings.TrimSpace(string(text)), err
}
