// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"testing"
)

// TestExitCodes checks which exit code a command has whose error joins several ones.
func TestExitCodes(t *testing.T) {
	found := exitError{code: exitFound}
	lookup := exitError{exitLookup, errors.New("lookup")}
	usage := errors.New("usage")
	for _, tt := range []struct {
		err     error
		want    int
		printed int
	}{
		{nil, exitOK, 0},
		{found, exitFound, 0},
		{lookup, exitLookup, 1},
		{usage, exitUsage, 1},
		{fmt.Errorf("image: %w", lookup), exitLookup, 1},
		{errors.Join(found, lookup), exitLookup, 1},
		{errors.Join(lookup, found, usage), exitUsage, 2},
		{errors.Join(usage, errInterrupted), exitSignal, 2},
		{errors.Join(lookup, lookup), exitLookup, 2},
	} {
		code, printed := exitOK, 0
		for _, exit := range outcomes(tt.err) {
			code = moreImportant(code, exit.code)
			if exit.error != nil {
				printed++
			}
		}
		if code != tt.want || printed != tt.printed {
			t.Errorf("outcomes(%v) = exit code %d, %d messages, want %d, %d",
				tt.err, code, printed, tt.want, tt.printed)
		}
	}
}
