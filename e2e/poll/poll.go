// SPDX-License-Identifier: Apache-2.0

// Package poll waits until a cluster has done something. Unlike package wait of apimachinery, it
// reports the last error when the time is up.
package poll

import (
	"context"
	"testing"
	"time"
)

const (
	// Deadline bounds a wait. It is generous, because the machine may be busy, and says nothing about
	// speed.
	Deadline = 3 * time.Minute

	interval = 20 * time.Millisecond
)

// Until calls f until it returns nil. If f still fails after Deadline, the test fails with f's last
// error, unless that only says that the time was up: then it fails with the one before. The context
// of f lasts as long as the wait, also in a test's cleanup, where the test's own context has ended.
func Until(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), Deadline)
	defer cancel()
	var last error
	for {
		err := f(ctx)
		if err == nil {
			return
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("still failing after %v: %v", Deadline, last)
		case <-time.After(interval):
		}
	}
}
