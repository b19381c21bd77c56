// SPDX-License-Identifier: Apache-2.0

package place

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// crowd lets so many of a namespace enter, which stay until leave is closed. It gives what came of each.
func crowd(ctx context.Context, p *Places, namespace string, n int, leave <-chan struct{}) <-chan error {
	results := make(chan error, n)
	for range n {
		go func() {
			out, _, err := p.Enter(ctx, namespace)
			results <- err
			if err == nil {
				<-leave
				out()
			}
		}()
	}
	synctest.Wait()
	return results
}

// A namespace has its own places and no more, all have theirs, and nothing is left when they have gone.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Places{Each: 3, All: 5}
		leave := make(chan struct{})
		loud := crowd(t.Context(), p, "loud", 10, leave)
		other := crowd(t.Context(), p, "other", 1, leave)
		late := crowd(t.Context(), p, "late", 2, leave)
		if len(loud) != 3 || len(other) != 1 || len(late) != 1 {
			t.Errorf("%d of the loud namespace, %d and %d of others, want 3, 1 and 1", len(loud), len(other), len(late))
		}
		close(leave)
		synctest.Wait()
		if len(loud) != 10 || len(late) != 2 {
			t.Errorf("then %d of the loud namespace and %d of the late one, want 10 and 2", len(loud), len(late))
		}
		if len(p.namespaces) != 0 || len(p.all) != 0 {
			t.Errorf("%d namespaces and %d places are left", len(p.namespaces), len(p.all))
		}
	})
}

// So many may wait; a further one is told at once, and those of another namespace are not.
func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &Places{Each: 2, Waiting: 3}
		leave := make(chan struct{})
		results := crowd(t.Context(), p, "n", 10, leave)
		refused := 0
		for range len(results) {
			if err := <-results; errors.Is(err, ErrFull) {
				refused++
			}
		}
		if other := crowd(t.Context(), p, "other", 1, leave); refused != 2 || len(other) != 1 {
			t.Errorf("%d were refused, %d of another namespace entered, want 2 and 1", refused, len(other))
		}
		close(leave)
	})
}

// Who gives up leaves no trace, be it for want of a place of the namespace or of all.
func TestGivenUp(t *testing.T) {
	for name, p := range map[string]*Places{"of the namespace": {Each: 1}, "of all": {Each: 2, All: 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leave := make(chan struct{})
				crowd(t.Context(), p, "n", 1, leave)
				ctx, cancel := context.WithCancel(t.Context())
				late := crowd(ctx, p, "n", 1, leave)
				cancel()
				if err := <-late; !errors.Is(err, context.Canceled) {
					t.Errorf("Enter = %v, want the context's error", err)
				}
				close(leave)
				synctest.Wait()
				out, waited, err := p.Enter(ctx, "n")
				if err != nil || waited {
					t.Fatalf("Enter = %t, %v, want a place at once", waited, err)
				}
				out()
				if len(p.namespaces) != 0 || len(p.all) != 0 {
					t.Errorf("%d namespaces and %d places are left", len(p.namespaces), len(p.all))
				}
			})
		})
	}
}
