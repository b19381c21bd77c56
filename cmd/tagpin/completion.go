// SPDX-License-Identifier: Apache-2.0

package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// platformNames are platforms that many images support. A shell suggests them.
var platformNames = []string{
	"linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/ppc64le",
	"linux/riscv64", "linux/s390x", "windows/amd64",
}

// filePlaceholders match the names of arguments and of flags' values that are files.
var filePlaceholders = regexp.MustCompile(`(?i)\b(file|dir|path|folder)\b`)

// completeAll sets what a shell suggests for the arguments and the flags of a command and of its
// subcommands. It takes that from their help, so that nothing is said twice: files where the usage
// line or the flag's placeholder names a file, and the values that the help of a flag lists.
func completeAll(c *cobra.Command) {
	if c.ValidArgsFunction == nil && !filePlaceholders.MatchString(c.Use) {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		placeholder, _ := pflag.UnquoteUsage(f)
		if _, done := c.GetFlagCompletionFunc(f.Name); done || filePlaceholders.MatchString(placeholder) {
			return
		}
		values := listed(f.Usage)
		if placeholder == "platform" {
			values = platformNames
		}
		complete := cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
		if _, list := f.Value.(pflag.SliceValue); list && len(values) > 0 {
			complete = completeList(values)
		}
		// The only errors are that there is no such flag or that it has a function.
		_ = c.RegisterFlagCompletionFunc(f.Name, complete)
	})
	for _, sub := range c.Commands() {
		completeAll(sub)
	}
}

// completeList suggests values for the last element of a list with commas.
func completeList(values []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		before := typed[:strings.LastIndex(typed, ",")+1]
		var all []string
		for _, v := range values {
			if !slices.Contains(strings.Split(before, ","), v) {
				all = append(all, before+v)
			}
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// valueList matches the values in the help of a flag: "output `format`: table, json or html".
var valueList = regexp.MustCompile("`: ([a-z0-9-]+(?:(?:, or |, | or )[a-z0-9-]+)*)(?:$|[;,. ])")

// remark matches what is said of a value in parentheses.
var remark = regexp.MustCompile(`\s*\([^)]*\)`)

// listed returns the values that the help of a flag lists after its placeholder.
func listed(usage string) []string {
	m := valueList.FindStringSubmatch(remark.ReplaceAllString(usage, ""))
	if m == nil {
		return nil
	}
	return strings.Split(strings.NewReplacer(", or ", ",", ", ", ",", " or ", ",").Replace(m[1]), ",")
}
