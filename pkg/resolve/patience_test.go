// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// slow returns a Cache whose lookups take a time.
func slow(takes time.Duration) *resolve.Cache {
	next := func(ctx context.Context, req resolve.Request) (resolve.Result, error) {
		if err := req.Begin(); err != nil {
			return resolve.Result{}, err
		}
		select {
		case <-time.After(takes):
			return resolve.Result{Digest: d("x")}, nil
		case <-ctx.Done():
			return resolve.Result{}, failure.Unavailable
		}
	}
	return &resolve.Cache{
		Next: resolve.Func(next), Answers: new(resolve.Answers), Client: new(registry.Client),
		Limits:   resolve.Limits{TTL: 30 * time.Second, NegativeTTL: 5 * time.Second},
		Patience: new(resolve.Patience),
	}
}

// TestPatience checks how long the controllers of a namespace wait for a slow registry in all, and
// that nobody else waits less for that.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := slow(5 * time.Second)
		defer c.Answers.Close()
		n := 0
		wait := func(namespace, sender string, fresh bool) (took time.Duration, err error) {
			n++
			req := of(fmt.Sprintf("ghcr.io/a:%d", n), namespace, fresh)
			req.Sender = sender
			began := time.Now()
			_, err = c.Resolve(t.Context(), req)
			return time.Since(began), err
		}
		var all time.Duration
		const most = 3 * time.Minute
		began := time.Now()
		tries := 0
		for time.Since(began) < most {
			took, err := wait("loud", "api", false)
			all += took
			tries++
			if err != nil && !strings.Contains(err.Error(), "waited too long for images of namespace loud") {
				t.Fatalf("error %v, want the reason", err)
			}
			time.Sleep(time.Second)
		}
		if over := all - time.Duration(tries)*200*time.Millisecond; over > 10*time.Second+most/10 {
			t.Errorf("%d lookups waited %v beyond 200 ms each, want at most 28 s", tries, over)
		}
		for _, tt := range []struct {
			namespace, sender string
			fresh             bool
		}{{"loud", "api", true}, {"modest", "api", false}, {"loud", "pod", false}} {
			if took, err := wait(tt.namespace, tt.sender, tt.fresh); err != nil || took != 5*time.Second {
				t.Errorf("%+v: %v after %v, want the answer after 5s", tt, err, took)
			}
		}
	})
}

// TestPatienceForFirstPods checks that a lookup goes on when a controller's pod did not wait for
// it, and that the controller gets its answer when it tries again: also for the first pod of a
// revision, for which an older digest does not do.
func TestPatienceForFirstPods(t *testing.T) {
	for _, first := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := slow(3 * time.Second)
			defer c.Answers.Close()
			for i := range 10 { // until all is used up
				_, _ = c.Resolve(t.Context(), of(fmt.Sprint("ghcr.io/other:", i), "shop", false))
			}
			req := of("ghcr.io/a:1", "shop", false)
			if first {
				if _, err := c.Resolve(t.Context(), of("ghcr.io/a:1", "blog", false)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				req.First, req.Since = true, time.Now()
			}
			began := time.Now()
			tries := 0
			for pause := 5 * time.Millisecond; ; pause *= 2 {
				tries++
				if _, err := c.Resolve(t.Context(), req); err == nil {
					break
				}
				time.Sleep(pause)
			}
			if took := time.Since(began); tries == 1 || took < 3*time.Second || took > 6*time.Second {
				t.Errorf("first %t: an answer after %d tries and %v, want it soon after 3s", first, tries, took)
			}
		})
	}
}
