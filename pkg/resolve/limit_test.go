// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// A namespace that asks for more than its places waits; another one is answered meanwhile.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: "D", hold: make(chan struct{})}
		l := &resolve.Limit{Next: b, PerNamespace: 3}
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
			t.Errorf("%d look-ups of one namespace under way, want 3", got)
		}
		go ask(t.Context(), "modest", modest)
		synctest.Wait()
		if got := b.asked.Load(); got != 4 {
			t.Errorf("%d look-ups under way, want that of the other namespace too", got)
		}
		hurried, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		late := make(chan error, 1)
		go ask(hurried, "greedy", late)
		if err := <-late; !errors.Is(err, resolve.ErrUnavailable) || !strings.Contains(err.Error(), "too many look-ups of namespace greedy") {
			t.Errorf("without a place in time: %v, want it unavailable", err)
		}
		close(b.hold)
		for range 10 {
			if err := <-greedy; err != nil {
				t.Error(err)
			}
		}
		if err := <-modest; err != nil || b.asked.Load() != 11 {
			t.Errorf("%v after %d look-ups, want 11", err, b.asked.Load())
		}
	})
}

// That one namespace had no place is not what another one hears from the cache.
func TestBusyIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: "D", hold: make(chan struct{})}
		c := &resolve.Cache{Next: &resolve.Limit{Next: b, PerNamespace: 1}, LookupTimeout: time.Second}
		ask := func(image, namespace string) error {
			r := request(false)
			r.Ref, r.Namespace = ref.MustParse(image), namespace
			_, err := c.Resolve(t.Context(), r)
			return err
		}
		slow := make(chan error, 1)
		go func() { slow <- ask("slow", "greedy") }()
		synctest.Wait()
		late := make(chan error, 1)
		go func() { late <- ask("image", "greedy") }()
		if err := <-late; !errors.Is(err, resolve.ErrUnavailable) {
			t.Errorf("without a place: %v, want it unavailable", err)
		}
		if err := <-slow; !errors.Is(err, resolve.ErrUnavailable) {
			t.Errorf("a registry that does not answer: %v, want it unavailable", err)
		}
		close(b.hold)
		if err := ask("image", "modest"); err != nil {
			t.Errorf("another namespace afterwards: %v, want its answer", err)
		}
		c.Wait()
	})
}
