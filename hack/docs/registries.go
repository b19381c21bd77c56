// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// supported is a row of the table of registries. deploy/docs/registries.yaml describes the fields.
type supported struct {
	Registry, Program string
	Kinds, Rows       []string
	Limits, Configure string
}

// modulePath matches the name of a Go module in the name of a program.
var modulePath = regexp.MustCompile(`\{(.*?)\}`)

// registryTable returns the table of registries, with how each one is tested.
func registryTable(context.Context) (string, error) {
	data, err := os.ReadFile("deploy/docs/registries.yaml")
	if err != nil {
		return "", err
	}
	var all []supported
	if err := yaml.Unmarshal(data, &all); err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("| registry | how it is tested | limits | what to configure |\n|---|---|---|---|\n")
	for _, s := range all {
		tested, err := s.tested()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Registry, tested, s.Limits, s.Configure)
	}
	return b.String(), nil
}

// tested says how a registry is tested.
func (s *supported) tested() (string, error) {
	var how []string
	if s.Program != "" {
		program, err := withVersions(s.Program)
		if err != nil {
			return "", err
		}
		how = append(how, "**real**: "+program)
	}
	if len(s.Rows) > 0 {
		how = append(how, "played: "+strings.Join(s.Rows, ", "))
	}
	if len(how) == 0 {
		return "not tested", nil
	}
	return strings.Join(how, "; "), nil
}

// withVersions replaces Go modules in braces by their versions.
func withVersions(program string) (string, error) {
	var required strings.Builder
	for _, file := range []string{"e2e/go.mod", "e2e/programs/go.mod"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		required.Write(text)
	}
	var err error
	return modulePath.ReplaceAllStringFunc(program, func(module string) string {
		module = strings.Trim(module, "{}")
		name := regexp.QuoteMeta(module)
		// A replacement counts more than what is required.
		for _, before := range []string{`=> `, `(?m)^\s+`} {
			version := regexp.MustCompile(before + name + ` v([^\s+]+)`)
			if m := version.FindStringSubmatch(required.String()); m != nil {
				return m[1]
			}
		}
		err = fmt.Errorf("no go.mod of e2e requires %s", module)
		return ""
	}), err
}
