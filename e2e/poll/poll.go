// SPDX-License-Identifier: Apache-2.0

// Package poll waits for what a cluster does in its own time. Unlike apimachinery's package wait it tells, where the time is
// up, what was wrong at last.
package poll

import (
	"context"
	"testing"
	"time"
)

const (
	// Deadline bounds a wait. Two cores may have other work: it is for what never comes, and no test of speed.
	Deadline = 3 * time.Minute

	interval = 20 * time.Millisecond
)

// Until calls f, each time with the context of the whole wait, until it succeeds. After Deadline the test fails with f's
// last error. It is for a test's cleanup too, in which the test's own context has ended.
func Until(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Deadline)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("in %v: %v", Deadline, err)
		case <-time.After(interval):
		}
	}
}
