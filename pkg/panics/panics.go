// SPDX-License-Identifier: Apache-2.0

// Package panics turns a panic into an error at the edge of a goroutine.
//
// What tagpin parses is written by tenants and by registries. A mistake in a parser must fail the one
// look-up that met it, and not end the process, which serves everybody:
//
//	err := reporter.Catch("reading a pull secret", func() error { … })
//
// Every goroutine that touches such input runs inside of Catch. A panic is reported once, with its
// stack, and whoever waits for the result gets an *Error.
package panics

import (
	"fmt"
	"runtime/debug"
)

// Error is a panic that was caught. Its text says where it was caught and nothing else, as the value
// may quote what a tenant wrote.
type Error struct {
	Where string // what was being done
	Value any    // what panic was called with
	Stack []byte // of the goroutine, as runtime/debug.Stack formats it
}

// Error says where the panic was caught.
func (e *Error) Error() string { return "internal error while " + e.Where }

// Reporter is told of panics. A nil *Reporter, and one without Report, catches them all the same.
type Reporter struct {
	// Report is called once for each panic, on the goroutine that panicked.
	Report func(*Error)
}

// Catch calls f and returns its error, or an *Error if f panics. where completes the sentence "internal
// error while …".
func (r *Reporter) Catch(where string, f func() error) (err error) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		caught := &Error{Where: where, Value: value, Stack: debug.Stack()}
		err = caught
		if r != nil && r.Report != nil {
			r.Report(caught)
		}
	}()
	return f()
}

// String formats the panic with its stack, for a log.
func (e *Error) String() string { return fmt.Sprintf("%s: %v\n%s", e.Error(), e.Value, e.Stack) }
