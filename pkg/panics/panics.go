// SPDX-License-Identifier: Apache-2.0

// Package panics turns a panic of a goroutine into an error.
//
// The input that tagpin parses comes from tenants and registries. If a parser panics because of a
// bug, only the lookup that called it must fail. The process must go on, because it serves
// everybody:
//
//	err := reporter.Catch("reading a pull secret", func() error { … })
//
// Every goroutine that parses such input runs inside Catch. A panic is reported once, with its
// stack, and the caller of Catch gets an *Error.
package panics

import "runtime/debug"

// Error is a panic that was caught. Its text only says where it was caught, because Value may
// contain text from a tenant.
type Error struct {
	Where string // what was being done
	Value any    // the argument of panic
	Stack []byte // the stack of the goroutine, as runtime/debug.Stack formats it
}

// Error returns where the panic was caught.
func (e *Error) Error() string { return "internal error while " + e.Where }

// Reporter catches and reports panics. A nil *Reporter, and one without Report, catches them too.
type Reporter struct {
	// Report is called once for each panic, on the goroutine that panicked.
	Report func(*Error)
}

// Catch calls f and returns its error, or an *Error if f panics. where completes the sentence
// "internal error while …".
func (r *Reporter) Catch(where string, f func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			caught := &Error{Where: where, Value: value, Stack: debug.Stack()}
			err = caught
			if r != nil && r.Report != nil {
				r.Report(caught)
			}
		}
	}()
	return f()
}
