// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
)

// await calls read and returns its result. Stdin or a file may be a pipe, and then read waits for
// the program that writes to it. If ctx ends first, await returns errInterrupted, and read goes on
// until the process ends: nothing can end it.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}

// readStdin returns all that stdin has.
func (t terminal) readStdin(ctx context.Context) ([]byte, error) {
	return await(ctx, func() ([]byte, error) { return io.ReadAll(t.in) })
}
