// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestLimit checks that a namespace that asks for more than its places waits, and that another one
// is answered meanwhile.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D"), hold: make(chan struct{})}
		l := &resolve.Limit{Next: b, Places: resolve.Places(3)}
		ask := func(ctx context.Context, namespace string, results chan<- error) {
			r := request(true)
			r.Namespace = namespace
			_, err := l.Resolve(ctx, r)
			results <- err
		}
		greedy, modest := make(chan error, 10), make(chan error, 1)
		for range 10 {
			go ask(t.Context(), "greedy", greedy)
		}
		synctest.Wait()
		if got := b.asked.Load(); got != 3 {
			t.Errorf("%d lookups of one namespace are under way, want 3", got)
		}
		go ask(t.Context(), "modest", modest)
		synctest.Wait()
		if got := b.asked.Load(); got != 4 {
			t.Errorf("%d lookups are under way, want that of the other namespace too", got)
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan error, 1)
		go ask(hurried, "greedy", late)
		if err := <-late; !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "too many lookups of namespace greedy are under way, and this one got no turn in time") {
			t.Errorf("without a place in time: %v, want it unavailable", err)
		}
		close(b.hold)
		for range 10 {
			if err := <-greedy; err != nil {
				t.Error(err)
			}
		}
		if err := <-modest; err != nil || b.asked.Load() != 11 {
			t.Errorf("%v after %d lookups, want 11", err, b.asked.Load())
		}
	})
}

// TestPending checks that a sender has as many lookups under way or waiting as others leave it,
// however many namespaces it makes up.
func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D"), hold: make(chan struct{})}
		l := &resolve.Limit{Next: b, Places: resolve.Places(3), Pending: &fair.Room{Capacity: 40}}
		results := make(chan error, 200)
		ask := func(sender, namespace string) {
			r := request(true)
			r.Sender, r.Namespace = sender, namespace
			_, err := l.Resolve(t.Context(), r)
			results <- err
		}
		for i := range 100 {
			go ask("liar", fmt.Sprint("made-up-", i))
		}
		synctest.Wait()
		go ask("api", "team")
		synctest.Wait()
		if got := b.asked.Load(); got != 21 {
			t.Errorf("%d lookups are under way, want 20 of the liar and one of the API server", got)
		}
		close(b.hold)
		refused := 0
		for range 101 {
			if err := <-results; err != nil {
				refused++
				if !errors.Is(err, failure.Unavailable) || !strings.Contains(err.Error(), "too many lookups are waiting, and namespace made-up-") {
					t.Error(err)
				}
			}
		}
		if s := l.Pending.Stats(); refused != 80 || s.InUse != 0 {
			t.Errorf("%d were refused, want 80; in the end %+v", refused, s)
		}
	})
}

// TestBusyIsNotRemembered checks that the cache does not remember that a namespace had no place, or
// got it too late.
func TestBusyIsNotRemembered(t *testing.T) {
	for name, free := range map[string]time.Duration{"no place": 2 * time.Minute, "too late": 59 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { busyIsNotRemembered(t, free) })
		})
	}
}

// busyIsNotRemembered tests lookups of one minute, whose place becomes free after some time.
func busyIsNotRemembered(t *testing.T, free time.Duration) {
	hold := make(chan struct{})
	b := &backend{digest: d("D"), hold: hold}
	limit := &resolve.Limit{Next: b, Places: resolve.Places(1)}
	c := remembering(t, limit)
	request := func(image, namespace string) resolve.Request {
		r := request(false)
		r.Ref, r.Namespace = ref.MustParse(image), namespace
		return r
	}
	ctx, cancel := context.WithTimeout(t.Context(), free)
	defer cancel()
	slow := make(chan error, 1)
	go func() {
		_, err := limit.Resolve(ctx, request("slow", "greedy"))
		slow <- err
	}()
	synctest.Wait()
	if _, err := c.Resolve(t.Context(), request("image", "greedy")); !errors.Is(err, failure.Unavailable) {
		t.Errorf("without a place in time: %v, want it unavailable", err)
	}
	if err := <-slow; err == nil {
		t.Error("the place was never held")
	}
	close(hold)
	if _, err := c.Resolve(t.Context(), request("image", "modest")); err != nil {
		t.Errorf("another namespace afterwards: %v, want its answer", err)
	}
}

// TestBusyIsNoOutage checks that an old digest is not used because tagpin has no room for the
// lookup: the registry might have been reached (rule 8).
func TestBusyIsNoOutage(t *testing.T) {
	for name, fill := range map[string]func(context.Context, *resolve.Limit){
		"too many wait": func(_ context.Context, l *resolve.Limit) { _, _ = l.Pending.Enter("api", "team", 1) },
		"no turn":       func(ctx context.Context, l *resolve.Limit) { _, _ = l.Places.Enter(ctx, "team", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := &resolve.Limit{
					Next: &backend{digest: d("D")}, Places: resolve.Places(1), Pending: &fair.Room{Capacity: 4},
				}
				c := remembering(t, limit)
				req := of(app, "team", false)
				req.Sender = "api"
				if _, err := c.Resolve(t.Context(), req); err != nil {
					t.Fatal(err)
				}
				time.Sleep(40 * time.Minute)
				fill(t.Context(), limit)
				got, err := c.Resolve(t.Context(), req)
				if !errors.Is(err, failure.Unavailable) || got.Stale {
					t.Errorf("Resolve = %+v, %v, want it unavailable", got, err)
				}
			})
		})
	}
}

// TestLimitOfWaiting checks that of many lookups some wait and the others fail at once.
func TestLimitOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D"), hold: make(chan struct{})}
		l := &resolve.Limit{Next: b, Places: resolve.Places(2), Pending: &fair.Room{Capacity: 4 * 34}}
		results := make(chan error, 100)
		for range 100 {
			go func() {
				_, err := l.Resolve(t.Context(), resolve.Request{Ref: ref.MustParse("image"), Namespace: "flood"})
				results <- err
			}()
		}
		synctest.Wait()
		if n := len(results); n != 100-34 {
			t.Errorf("%d failed at once, want all but 34", n)
		}
		close(b.hold)
		failed := 0
		for range 100 {
			if <-results != nil {
				failed++
			}
		}
		if failed != 66 || b.asked.Load() != 34 {
			t.Errorf("%d failed and %d were looked up, want 66 and 34", failed, b.asked.Load())
		}
	})
}
