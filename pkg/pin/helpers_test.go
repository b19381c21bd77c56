// SPDX-License-Identifier: Apache-2.0

package pin_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

// counting is a Resolver whose lookups wait for a turn of the test. It counts those under way.
type counting struct {
	underWay atomic.Int64
	turn     chan struct{} // closed: every lookup ends at once
}

func (c *counting) Resolve(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
	c.underWay.Add(1)
	defer c.underWay.Add(-1)
	select {
	case <-c.turn:
	case <-ctx.Done():
	}
	return resolve.Result{Digest: resolvetest.Digest("x")}, nil
}

// TestHelpersAreBounded checks that the objects of one sender have as many lookups under way as
// there is room for, and one each, and that those of another namespace still have theirs.
func TestHelpersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const objects, images = 500, 20
		c := &counting{turn: make(chan struct{})}
		p := &pin.Pinner{Resolver: c, Helpers: pin.HelperRoom()}
		results := make(chan pin.Result, 2*objects)
		begin := func(namespace string) {
			var texts []string
			for i := range images {
				texts = append(texts, fmt.Sprintf("a:%d", i))
			}
			req := pin.Request{
				Input: create(deployment(t, texts...)), Namespace: namespace, Sender: "api",
			}
			go func() { results <- p.Pin(t.Context(), req) }()
		}
		for i := range objects {
			begin(fmt.Sprint("flood-", i%4))
		}
		synctest.Wait()
		before, room := c.underWay.Load(), p.Helpers.Stats()
		if helpers := before - objects; helpers != room.InUse || helpers > room.Capacity/2 {
			t.Errorf("%d helpers with %d places, want at most half of %d",
				helpers, room.InUse, room.Capacity)
		}
		begin("modest")
		synctest.Wait()
		if n := c.underWay.Load() - before; n != 16 {
			t.Errorf("a modest namespace has %d lookups under way, want 16", n)
		}
		close(c.turn)
		for range objects + 1 {
			if got := <-results; len(got.Outcomes) != images || got.Outcomes[images-1].Pin.IsZero() {
				t.Fatalf("Pin = %+v, want %d pins", got, images)
			}
		}
		if s := p.Helpers.Stats(); s.InUse != 0 {
			t.Errorf("%d helpers are left", s.InUse)
		}
	})
}

// TestHelpersLater checks that an object that began without helpers gets them when there is room.
func TestHelpersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &counting{turn: make(chan struct{})}
		p := &pin.Pinner{Resolver: c, Helpers: pin.HelperRoom()}
		leave, err := p.Helpers.Enter("api", "team", p.Helpers.Capacity/4)
		if err != nil {
			t.Fatal(err)
		}
		req := pin.Request{
			Input: create(deployment(t, "a:1", "a:2", "a:3", "a:4")), Namespace: "team", Sender: "api",
		}
		done := make(chan pin.Result)
		go func() { done <- p.Pin(t.Context(), req) }()
		synctest.Wait()
		if n := c.underWay.Load(); n != 1 {
			t.Fatalf("%d lookups under way without room, want one", n)
		}
		leave()
		c.turn <- struct{}{}
		synctest.Wait()
		if n := c.underWay.Load(); n != 3 {
			t.Errorf("%d lookups under way when there is room, want the other three", n)
		}
		close(c.turn)
		<-done
	})
}
