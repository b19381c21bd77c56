// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLimitBeginsAfterTheBuild has a build that takes longer than the demo may run, as on a slow
// machine with empty caches.
func TestLimitBeginsAfterTheBuild(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		build := func(ctx context.Context) error {
			select {
			case <-time.After(10 * limit):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		told := false
		tell := func(ctx context.Context) error {
			told = true
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) != limit {
				t.Errorf("the story ends at %v, %t, want in %v", deadline, ok, limit)
			}
			<-ctx.Done()
			return ctx.Err()
		}
		err := afterBuild(t.Context(), build, tell)
		if !told || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("afterBuild = %v, the story was told: %t, want it to run out of time", err, told)
		}
	})
}

func TestFailedBuildTellsNothing(t *testing.T) {
	broken := errors.New("does not compile")
	build := func(context.Context) error { return broken }
	err := afterBuild(t.Context(), build, func(context.Context) error {
		t.Error("the story is told without a program")
		return nil
	})
	if !errors.Is(err, broken) {
		t.Errorf("afterBuild = %v, want %v", err, broken)
	}
}
