// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimitBeginsAfterTheBuild runs a build that takes longer than the timeout of the demo, as on a
// slow machine with empty caches.
func TestLimitBeginsAfterTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		build := func(ctx context.Context) error {
			select {
			case <-time.After(10 * timeout):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		shown := false
		show := func(ctx context.Context) error {
			shown = true
			deadline, ok := ctx.Deadline()
			if left := time.Until(deadline); !ok || left != timeout {
				t.Errorf("deadline in %v, %t, want in %v", left, ok, timeout)
			}
			<-ctx.Done()
			return ctx.Err()
		}
		err := afterBuild(t.Context(), build, show)
		if !shown || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("afterBuild = %v, show was called: %t, want DeadlineExceeded and true", err, shown)
		}
	})
}

func TestFailedBuild(t *testing.T) {
	broken := errors.New("does not compile")
	build := func(context.Context) error { return broken }
	err := afterBuild(t.Context(), build, func(context.Context) error {
		t.Error("show was called after a failed build")
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("afterBuild = %v, want %v", err, broken)
	}
}
