// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

const compatibilityPage = "deploy/docs/compatibility.md"

// neighbour is what make test-neighbours has found about a program that others run beside tagpin.
type neighbour struct {
	Program          string
	Modules          map[string]string // versions by path
	Kubernetes, Date string
	Checks           []struct{ Test, Done, Result, Settings string }
}

// compatibility returns a section for each program, in the order of their names. The folder of the
// tests has the results.
func compatibility(context.Context) (string, error) {
	files, err := filepath.Glob("e2e/neighbours/*/results.json")
	if err != nil {
		return "", err
	}
	if len(files) == 0 {
		return "", errors.New("there are no results in e2e/neighbours")
	}
	all := make([]neighbour, len(files))
	for i, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if err := json.Unmarshal(data, &all[i]); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
	}
	slices.SortFunc(all, func(a, b neighbour) int { return strings.Compare(a.Program, b.Program) })
	var b strings.Builder
	for i := range all {
		all[i].section(&b)
	}
	return b.String(), nil
}

// section writes the section of a program.
func (n *neighbour) section(b *strings.Builder) {
	var versions []string
	for module, version := range n.Modules {
		versions = append(versions, "["+moduleName(module)+" "+strings.TrimPrefix(version, "v")+
			"](https://pkg.go.dev/"+module+"@"+version+")")
	}
	slices.Sort(versions)
	fmt.Fprintf(b, "\n## %s\n\nRun on %s with Kubernetes %s: %s.\n\n", n.Program, n.Date,
		strings.TrimPrefix(n.Kubernetes, "v"), strings.Join(versions, ", "))
	b.WriteString("| what was done | what happened | settings |\n|---|---|---|\n")
	for _, c := range n.Checks {
		settings := c.Settings
		if settings == "" {
			settings = "none"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", c.Done, c.Result, settings)
	}
	b.WriteString("\n")
}

// moduleName returns the last part of a module's path that is not a major version.
func moduleName(module string) string {
	dir, name := path.Split(module)
	if strings.Trim(name, "v0123456789") == "" {
		return path.Base(dir)
	}
	return name
}
