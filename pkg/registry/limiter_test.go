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

// held is a registry whose answers wait until the test lets them go.
type held struct {
	asked  chan *http.Request
	answer chan int // statuses
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked <- r
	select {
	case status := <-h.answer:
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func newHeld() *held { return &held{asked: make(chan *http.Request, 1000), answer: make(chan int)} }

// client is a Client of a registry that is held.
func (h *held) client(hosts ...Host) *Client {
	c := &Client{Hosts: hosts}
	_ = c.Init()
	c.over(h)
	return c
}

// The queue of a registry that is in use is the same for all who ask it, however many other
// registries a tenant has made tagpin ask meanwhile.
func TestQueueInUseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client(Host{Name: "*", MaxInFlight: 2, Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		ask := func(image, namespace string) {
			go func() { _, _ = c.Head(ctx, head(image, namespace)) }()
			synctest.Wait()
		}
		ask("busy.example/a:1", "a")
		for i := range 2 * maxLimiters {
			place, err := c.limiters.take(ctx, limiterKey{origin: fmt.Sprint(i), slots: 2}, "flood")
			if err != nil {
				t.Fatal(err)
			}
			place.leave()
		}
		ask("busy.example/a:2", "a")
		ask("busy.example/b:1", "b")
		ask("busy.example/b:2", "b")
		if n := len(h.asked); n != 2 {
			t.Errorf("%d requests are under way, want one of each namespace: two places", n)
		}
		cancel()
		synctest.Wait()
		if n := len(c.limiters.inUse); n != 0 {
			t.Errorf("%d queues are in use in the end", n)
		}
	})
}

// Those that wait for another request to find out whether the registry is back hold no places, so
// that those places are free for the registry's other credentials and repositories.
func TestWaitingForATryHoldsNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client(Host{Name: "*", MaxInFlight: 8, Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := c.one(head("r.example/a:1", "a"))
		l.judge(&requestError{host: "r.example", evidence: network.Broken}) // closes the gate of repository a
		time.Sleep(time.Second)
		for i := range 6 {
			go func() { _, _ = c.Head(ctx, head(fmt.Sprintf("r.example/a:%d", i), "a")) }()
			synctest.Wait()
		}
		if n := len(h.asked); n != 1 {
			t.Fatalf("%d requests are under way, want the one that tries", n)
		}
		go func() { _, _ = c.Head(ctx, head("r.example/b:1", "a")) }()
		synctest.Wait()
		if n := len(h.asked); n != 2 {
			t.Errorf("%d requests are under way, want that of another repository too", n)
		}
		h.answer <- http.StatusNotFound
		synctest.Wait()
		if n := len(h.asked); n < 5 {
			t.Errorf("%d requests were sent once the registry was back, want the others to follow", n)
		}
	})
}

// A look-up that was begun for another namespace sends nothing, and gives back what it took.
func TestBegunForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client()
		req := head("r.example/a:1", "a")
		req.Begin = func() error { return cache.ErrStarted }
		if _, err := c.Head(t.Context(), req); !errors.Is(err, cache.ErrStarted) || len(h.asked) != 0 {
			t.Errorf("Manifest = %v after %d requests, want ErrStarted after none", err, len(h.asked))
		}
		if n := len(c.limiters.inUse); n != 0 {
			t.Errorf("%d queues are in use", n)
		}
	})
}

// A look-up that joins the request for a token has the registry's whole timeout, and not what the
// first caller had left.
func TestTokenOutlivesItsFirstCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c := start()
		hurried, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.head(hurried, "1", "u") }()
		synctest.Wait()
		go func() { second <- c.head(t.Context(), "2", "u") }()
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if err := <-first; err == nil {
			t.Error("the first caller's time is over, and it got an answer")
		}
		close(w.answer)
		if err := <-second; err != nil {
			t.Errorf("the second caller: %v", err)
		}
		if n := len(w.tokens); n != 1 {
			t.Errorf("%d requests for tokens, want 1", n)
		}
	})
}

// What one Client has learned is known to the next, unless the settings of the registry have
// changed.
func TestLearnedOutlivesAClient(t *testing.T) {
	learned := &Learned{}
	closes := &Client{Learned: learned, Hosts: []Host{{Name: "r.example", AuthHosts: []string{"auth.example"}}}}
	_ = closes.Init()
	closes.one(head("r.example/a:1", "a")).judge(&requestError{host: "r.example", evidence: network.NotConnected})
	for name, tt := range map[string]struct {
		host Host
		open bool
	}{
		"other bounds":   {Host{Name: "r.example", AuthHosts: []string{"auth.example"}, MaxInFlight: 3, Timeout: time.Minute}, false},
		"other settings": {Host{Name: "r.example", AuthHosts: []string{"auth.example", "more.example"}}, true},
	} {
		next := &Client{Learned: learned, Hosts: []Host{tt.host}}
		_ = next.Init()
		if err := closed(next.state.gates, next.one(head("r.example/b:1", "b")).gates()); (err == nil) != tt.open {
			t.Errorf("%s: the gate says %v, want it open: %t", name, err, tt.open)
		}
	}
}

// A look-up keeps its place from one request to the next, and gives it back in the end.
func TestPlaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client(Host{Name: "*", MaxInFlight: 2, Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l, done := c.one(head("r.example/a:1", "a")), make(chan error, 1)
		go func() {
			_, _ = l.request(ctx, http.MethodHead)
			_, err := l.request(ctx, http.MethodHead)
			done <- err
		}()
		synctest.Wait()
		go func() { _, _ = c.Head(ctx, head("r.example/b:1", "a")) }() // waits for the place
		synctest.Wait()
		h.answer <- http.StatusNotFound
		synctest.Wait()
		if n := len(h.asked); n != 2 {
			t.Fatalf("%d requests, want two", n)
		}
		if first, second := <-h.asked, <-h.asked; first.URL.Path != second.URL.Path {
			t.Errorf("the second request is for %s, want that of the same look-up", second.URL.Path)
		}
		h.answer <- http.StatusNotFound
		if err := <-done; err == nil {
			t.Error("an answer, want 404")
		}
		l.slot.leave()
		synctest.Wait()
		if n := len(h.asked); n != 1 {
			t.Errorf("%d requests when the place was given back, want the other look-up's", n)
		}
	})
}

// Made-up registries of one namespace make tagpin forget no queue that another namespace has used.
func TestIdleQueuesAreShared(t *testing.T) {
	c := newHeld().client()
	enter := func(origin, namespace string) {
		place, err := c.limiters.take(t.Context(), limiterKey{origin: origin, slots: 2}, namespace)
		if err != nil {
			t.Fatal(err)
		}
		place.leave()
	}
	enter("r.example", "modest")
	for i := range 2 * maxLimiters {
		enter(fmt.Sprint(i), "flood")
	}
	if _, ok := c.limiters.idle.Get(limiterKey{origin: "r.example", slots: 2}); !ok {
		t.Error("the queue of another namespace's registry is forgotten")
	}
}

// Each request of a look-up takes a turn of the registry's rate, and not only the first: a look-up
// may try many credentials. Another namespace's request waits for its own turn alone.
func TestRateOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client(Host{Name: "*", RequestsPerSecond: 10, Timeout: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		close(h.answer) // with status 0
		flood := c.one(head("r.example/a:1", "flood"))
		go func() {
			for ctx.Err() == nil {
				_, _ = flood.request(ctx, http.MethodHead)
			}
		}()
		for _, want := range []int{10, 20, 30} {
			synctest.Wait()
			if n := len(h.asked); n != want {
				t.Fatalf("%d requests were sent, want %d", n, want)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		before := len(h.asked)
		_, _ = c.Head(ctx, head("r.example/b:1", "modest"))
		if n := len(h.asked) - before; n > 3 {
			t.Errorf("%d requests were sent until another namespace's was", n)
		}
		cancel()
		synctest.Wait()
	})
}

// A request that waits for the rate in vain gives its place back.
func TestRateGivesThePlaceBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld()
		c := h.client(Host{Name: "*", RequestsPerSecond: 1, Timeout: time.Hour})
		close(h.answer)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		for i := range 3 {
			_, err := c.Head(ctx, head("r.example/a:1", "a"))
			if late := errors.Is(err, context.DeadlineExceeded); late != (i > 0) {
				t.Errorf("request %d: %v, want it too late: %t", i, err, i > 0)
			}
		}
		if n := len(c.limiters.inUse); n != 0 {
			t.Errorf("%d queues are in use", n)
		}
	})
}
