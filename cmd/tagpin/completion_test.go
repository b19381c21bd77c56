// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

func TestListed(t *testing.T) {
	for usage, want := range map[string][]string{
		"output `format`: json":                                {"json"},
		"output `format`: json or sarif":                       {"json", "sarif"},
		"output `format`: table, json or html":                 {"table", "json", "html"},
		"output `format`: json, sarif, or github":              {"json", "sarif", "github"},
		"output `format`: table, json; default table":          {"table", "json"},
		"output `format`: json (default: a table)":             {"json"},
		"output `format`: json, sarif (2.1.0), or x (a b); it": {"json", "sarif", "x"},
		"print the digest for a `platform`, such as linux":     nil,
		"config `file` of the webhook: exemptions, kinds":      nil,
		"write the files in place":                             nil,
	} {
		if diff := cmp.Diff(want, listed(usage)); diff != "" {
			t.Errorf("listed(%q) (-want +got):\n%s", usage, diff)
		}
	}
}

// TestEveryFormatIsCompleted checks that a shell suggests values for each flag -o: that its help
// lists them in a way that is understood.
func TestEveryFormatIsCompleted(t *testing.T) {
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		if f := c.Flags().Lookup("output"); f != nil && len(listed(f.Usage)) == 0 {
			t.Errorf("%s: no values can be suggested for -o; its help is %q, want one such as "+
				"\"output `format`: json or sarif\"", c.CommandPath(), f.Usage)
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(newTerminal(strings.NewReader(""), io.Discard, io.Discard)))
}
