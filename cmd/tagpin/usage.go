// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandName returns the name of a command as messages have it: config validate. It is "" for
// tagpin itself.
func commandName(c *cobra.Command) string {
	if !c.HasParent() {
		return ""
	}
	return strings.TrimSpace(commandName(c.Parent()) + " " + c.Name())
}

// usageError returns an error about the arguments of a command. It begins with the command's name
// and ends with the way to its help.
func usageError(c *cobra.Command, pattern string, args ...any) error {
	text := fmt.Sprintf(pattern, args...)
	if name := commandName(c); name != "" {
		text = name + ": " + text
	}
	return fmt.Errorf("%s; see %s --help", text, c.CommandPath())
}

// noArguments is the Args of a command that takes none.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(c, "it takes no argument, but got %q", args[0])
	}
	return nil
}

// notTogether returns an error if more than one of the flags is set.
func notTogether(flags *pflag.FlagSet, names ...string) error {
	var set []string
	for _, name := range names {
		if flags.Changed(name) {
			set = append(set, "--"+name)
		}
	}
	if len(set) < 2 {
		return nil
	}
	last := len(set) - 1
	return fmt.Errorf("%s and %s can't be used together", strings.Join(set[:last], ", "), set[last])
}
