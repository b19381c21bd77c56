// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
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

// flagError returns the error of a command whose flags can't be parsed. An empty value is never
// valid. In a pipeline, it is usually that of a variable.
func flagError(c *cobra.Command, err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if ok && invalid.GetValue() == "" {
		return usageError(c, "--%s has an empty value; if a variable has the value, it may not be set",
			invalid.GetFlag().Name)
	}
	return usageError(c, "%v", err)
}

// refuseEmpty makes it an error to set a flag of a command or of its subcommands to an empty text.
// Otherwise, those with texts and lists would be taken as not given. The other types of flags
// refuse it themselves.
func refuseEmpty(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		list, isList := f.Value.(pflag.SliceValue)
		switch {
		case isList:
			f.Value = notEmptyList{notEmpty{f.Value}, list}
			if len(list.GetSlice()) == 0 {
				f.DefValue = "" // so that the help has no default: pflag only knows [] of its own types
			}
		case f.Value.Type() == "string":
			f.Value = notEmpty{f.Value}
		}
	})
	for _, sub := range c.Commands() {
		refuseEmpty(sub)
	}
}

// notEmpty is the value of a flag that can't be set to an empty text.
type notEmpty struct{ pflag.Value }

// Set implements pflag.Value.
func (v notEmpty) Set(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	return v.Value.Set(text)
}

// notEmptyList is the value of a flag that may be repeated, each time with a text.
type notEmptyList struct {
	notEmpty
	pflag.SliceValue
}
