// SPDX-License-Identifier: Apache-2.0

package load

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var errDown = errors.New("down")

// TestResult counts requests that take a second each, in the time of a synctest bubble.
func TestResult(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		attempt func(i int) (bool, error)
		want    Result
		errors  string
	}{
		{
			"all pinned",
			Options{N: 6, AtOnce: 2},
			func(int) (bool, error) { return true, nil },
			Result{Pinned: 6, Gap: time.Second, Took: 3 * time.Second},
			"",
		},
		{
			"unpinned",
			Options{N: 4, AtOnce: 1},
			func(i int) (bool, error) { return i == 0, nil },
			Result{Pinned: 1, Unpinned: 3, Gap: 3 * time.Second, Took: 4 * time.Second},
			"",
		},
		{
			"down for a while",
			Options{N: 20, AtOnce: 2},
			func(i int) (bool, error) {
				if i >= 4 && i < 12 {
					return false, errDown
				}
				return true, nil
			},
			Result{Pinned: 12, Failed: 8, Gap: 5 * time.Second, Took: 10 * time.Second},
			"3s: down 3s: down 4s: down 4s: down 5s: down",
		},
		{
			"never up",
			Options{N: 3, AtOnce: 1},
			func(int) (bool, error) { return false, errDown },
			Result{Failed: 3, Gap: 3 * time.Second, Took: 3 * time.Second},
			"1s: down 2s: down 3s: down",
		},
		{
			"at a rate",
			Options{N: 5, AtOnce: 8, Rate: 0.5},
			func(int) (bool, error) { return true, nil },
			Result{Pinned: 5, Gap: 3 * time.Second, Took: 11 * time.Second},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := Start(t.Context(), tt.options, func(_ context.Context, i int) (bool, error) {
					time.Sleep(time.Second)
					return tt.attempt(i)
				}).Wait()
				if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreFields(Result{}, "Errors")); diff != "" {
					t.Errorf("result (-want +got):\n%s", diff)
				}
				var texts []string
				for _, err := range got.Errors {
					texts = append(texts, strings.TrimPrefix(err.Error(), "after "))
				}
				if errs := strings.Join(texts, " "); errs != tt.errors {
					t.Errorf("errors = %q, want %q", errs, tt.errors)
				}
			})
		})
	}
}

// TestEndOfContext ends a load that has no number of requests. Those in flight must not fail.
func TestEndOfContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancel()
		l := Start(ctx, Options{AtOnce: 2}, func(ctx context.Context, _ int) (bool, error) {
			time.Sleep(time.Second)
			return true, ctx.Err()
		})
		time.Sleep(2500 * time.Millisecond)
		if got := l.Result().Done(); got != 4 {
			t.Errorf("done after 2.5 s = %d, want 4", got)
		}
		if got, want := l.Wait().String(), "8 pinned, 0 unpinned, 0 failed in 4s; longest gap 1s"; got != want {
			t.Errorf("result = %q, want %q", got, want)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ int) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		r := Start(t.Context(), Options{N: 1, Timeout: time.Minute}, hang).Wait()
		if want := "0 pinned, 0 unpinned, 1 failed in 1m0s; longest gap 1m0s; the first errors:\nafter 1m0s: " + context.DeadlineExceeded.Error(); r.String() != want {
			t.Errorf("result = %q, want %q", r, want)
		}
	})
}

// TestNumbers checks that each request gets its own number.
func TestNumbers(t *testing.T) {
	var mu sync.Mutex
	seen := map[int]int{}
	Start(t.Context(), Options{N: 100}, func(_ context.Context, i int) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		seen[i]++
		return true, nil
	}).Wait()
	for i := range 100 {
		if seen[i] != 1 {
			t.Errorf("number %d was given %d times, want once", i, seen[i])
		}
	}
}
