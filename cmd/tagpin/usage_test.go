// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEmptyFlags sets each flag of each command to an empty text. That is an error, also after
// another value.
func TestEmptyFlags(t *testing.T) {
	var all func(c *cobra.Command)
	n := 0
	all = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.NoOptDefVal != "" { // a switch
				return
			}
			n++
			args := append(strings.Fields(c.CommandPath()), "--"+f.Name, "")
			checkEmpty(t, f.Name, args)
			if _, list := f.Value.(pflag.SliceValue); list {
				checkEmpty(t, f.Name, append(args[:len(args)-1:len(args)-1], "a", "--"+f.Name, ""))
			}
		})
		for _, sub := range c.Commands() {
			all(sub)
		}
	}
	all(newRoot(newTerminal(nil, nil, nil)))
	if n < 20 {
		t.Errorf("the commands have %d flags with values, want more", n)
	}
}

// checkEmpty checks that a command fails before it does anything, because a flag is empty.
func checkEmpty(t *testing.T, name string, args []string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &out, &errs)
	if code != exitUsage || out.Len() > 0 || strings.Count(errs.String(), "\n") != 1 ||
		!strings.Contains(errs.String(), "--"+name+" has an empty value; ") {
		t.Errorf("%q = %d, %q, %q, want %d and one message that --%s is empty",
			args, code, out.String(), errs.String(), exitUsage, name)
	}
}
