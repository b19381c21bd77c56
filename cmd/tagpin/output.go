// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"io"
)

// printJSON prints a value as JSON for people and scripts.
func printJSON(out io.Writer, value any) error {
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// errInterrupted is returned if the user stopped the command before it printed or wrote anything.
var errInterrupted = exitError{
	exitSignal, errors.New("interrupted; nothing was printed or written"),
}

// noInputError is the error of a command whose stdin has nothing.
type noInputError string

// Error implements error.
func (e noInputError) Error() string { return string(e) }

const errNoInput noInputError = "stdin is empty; the program before it in the pipe has probably " +
	"failed, so look at its errors"

// ending returns the error of a command that has done what it could. The exit codes have the order
// of moreImportant.
func ending(found bool, err error, lookups []error) error {
	all := errors.Join(append(lookups, err)...)
	switch {
	case err != nil:
		return exitError{exitUsage, all}
	case len(lookups) > 0:
		return exitError{exitLookup, all}
	case found:
		return exitError{code: exitFound}
	}
	return nil
}
