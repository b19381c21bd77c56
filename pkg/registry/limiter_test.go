// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// held is a registry whose answers wait.
type held struct {
	*Client
	asked  chan *http.Request
	answer chan int // a status for each request; if closed, 200 for all
}

func newHeld(host Host) *held {
	h := &held{asked: make(chan *http.Request, 1000), answer: make(chan int)}
	host.Name, host.Timeout = "*", time.Hour
	h.Client = over(handler(func(w http.ResponseWriter, r *http.Request) {
		h.asked <- r
		select {
		case status, ok := <-h.answer:
			if ok {
				w.WriteHeader(status)
			}
		case <-r.Context().Done():
		}
	}), host)
	return h
}

// ask starts a request, and waits until it has been sent or waits.
func (h *held) ask(ctx context.Context, image, namespace string) {
	go func() { _, _ = h.Head(ctx, head(image, namespace)) }()
	synctest.Wait()
}

// wantAsked checks the number of requests that have been sent.
func (h *held) wantAsked(t *testing.T, want int) {
	t.Helper()
	synctest.Wait()
	if n := len(h.asked); n != want {
		t.Fatalf("%d requests were sent, want %d", n, want)
	}
}

// visit takes a slot of a registry and gives it back.
func (h *held) visit(t *testing.T, origin, namespace string) {
	t.Helper()
	s, err := h.limiters.take(t.Context(), limiterKey{server: origin, slots: 2}, namespace, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.leave()
}

// TestQueueInUseIsKept checks that a registry keeps its limiter while it is in use, however many
// other registries a tenant makes tagpin ask.
func TestQueueInUseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{MaxInFlight: 2})
		ctx, cancel := context.WithCancel(t.Context())
		h.ask(ctx, "busy.example/a:1", "a")
		for i := range 2 * maxLimiters {
			h.visit(t, fmt.Sprint(i), "flood")
		}
		h.ask(ctx, "busy.example/a:2", "a")
		h.ask(ctx, "busy.example/b:1", "b")
		h.ask(ctx, "busy.example/b:2", "b")
		h.wantAsked(t, 2) // one of each namespace
		cancel()
		synctest.Wait()
		if n := len(h.limiters.inUse); n != 0 {
			t.Errorf("%d limiters are in use at the end, want 0", n)
		}
	})
}

// TestIdleQueuesAreShared checks that made-up registries of one namespace make tagpin forget no
// limiter that another namespace has used.
func TestIdleQueuesAreShared(t *testing.T) {
	h := newHeld(Host{})
	h.visit(t, "r.example", "modest")
	for i := range 2 * maxLimiters {
		h.visit(t, fmt.Sprint(i), "flood")
	}
	if _, ok := h.limiters.known.Get(limiterKey{server: "r.example", slots: 2}); !ok {
		t.Error("the limiter of another namespace's registry is forgotten")
	}
}

// TestWaitingForATryHoldsNoPlace checks that lookups that wait for another one to try a gate hold
// no slots, so that other repositories can be asked.
func TestWaitingForATryHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{MaxInFlight: 8})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		h.one(head("r.example/a:1", "a")).judge(&requestError{evidence: network.Broken})
		time.Sleep(time.Second)
		for i := range 6 {
			h.ask(ctx, fmt.Sprintf("r.example/a:%d", i), "a")
		}
		h.wantAsked(t, 1) // it tries the gate
		h.ask(ctx, "r.example/b:1", "a")
		h.wantAsked(t, 2)
		h.answer <- http.StatusNotFound
		synctest.Wait()
		if n := len(h.asked); n < 5 {
			t.Errorf("%d requests were sent after the answer, want the others to follow", n)
		}
	})
}

// TestBegunForAnother checks that a lookup that was begun for another namespace sends nothing, and
// gives back its slot.
func TestBegunForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{})
		req := head("r.example/a:1", "a")
		req.Begin = func() error { return cache.ErrStarted }
		if _, err := h.Digest(t.Context(), req); !errors.Is(err, cache.ErrStarted) {
			t.Errorf("Digest = %v, want %v", err, cache.ErrStarted)
		}
		h.wantAsked(t, 0)
		if n := len(h.limiters.inUse); n != 0 {
			t.Errorf("%d limiters are in use, want 0", n)
		}
	})
}

// TestSlotIsKept checks that a lookup keeps its slot for all its requests.
func TestSlotIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{MaxInFlight: 2})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() {
			_, err := h.Digest(ctx, head("r.example/a:1", "a"))
			done <- err
		}()
		synctest.Wait()
		h.ask(ctx, "r.example/b:1", "a") // waits for the slot
		h.answer <- http.StatusNotFound  // to HEAD, so that GET follows
		h.wantAsked(t, 2)
		if first, second := <-h.asked, <-h.asked; first.URL.Path != second.URL.Path {
			t.Errorf("path of the second request = %s, want that of the first lookup", second.URL.Path)
		}
		h.answer <- http.StatusNotFound
		if err := <-done; err == nil {
			t.Error("Digest = nil, want 404")
		}
		h.wantAsked(t, 1)
	})
}

// TestRateOfRequests checks that each request waits for the registry's rate, and not only the first
// one of a lookup. Namespaces take turns.
func TestRateOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{RequestsPerSecond: 10})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		close(h.answer)
		flood := h.one(head("r.example/a:1", "flood"))
		go func() {
			for ctx.Err() == nil {
				_, _ = flood.request(ctx, http.MethodHead)
			}
		}()
		for _, want := range []int{10, 20, 30} {
			h.wantAsked(t, want)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		before := len(h.asked)
		_, _ = h.Head(ctx, head("r.example/b:1", "modest"))
		if n := len(h.asked) - before; n > 3 {
			t.Errorf("%d requests were sent until another namespace's was, want at most 3", n)
		}
		cancel()
		synctest.Wait()
	})
}

// TestRateGivesTheSlotBack checks that a lookup gives its slot back if its time ends while it waits
// for the rate.
func TestRateGivesTheSlotBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{RequestsPerSecond: 1})
		close(h.answer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for i := range 3 {
			_, err := h.Head(ctx, head("r.example/a:1", "a"))
			if late := errors.Is(err, context.DeadlineExceeded); late != (i > 0) {
				t.Errorf("request %d: %v, want it too late: %t", i, err, i > 0)
			}
		}
		if n := len(h.limiters.inUse); n != 0 {
			t.Errorf("%d limiters are in use, want 0", n)
		}
	})
}

// TestOnWaitForATry checks that a lookup says so while it waits for another one to try a gate.
func TestOnWaitForATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := over(handler(func(http.ResponseWriter, *http.Request) {}))
		other := c.one(head("r.example/a:1", "a"))
		other.judge(&requestError{evidence: network.Broken})
		time.Sleep(unreachable.first)
		taken, _, err := c.gates.pass(other.gates(), true)
		if err != nil || len(taken) == 0 {
			t.Fatalf("gates: %v, %v, want one to try", taken, err)
		}
		waits := false
		req := head("r.example/a:1", "a")
		req.OnWait = func() func(bool) { waits = true; return func(goesOn bool) { waits = !goesOn } }
		done := make(chan error)
		go func() { _, err := c.Head(t.Context(), req); done <- err }()
		synctest.Wait()
		if !waits {
			t.Error("OnWait was not called")
		}
		c.gates.done(taken, true)
		if err := <-done; err != nil || waits {
			t.Errorf("Head = %v, waits: %t, want an answer after the wait", err, waits)
		}
	})
}
