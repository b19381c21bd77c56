// SPDX-License-Identifier: Apache-2.0

package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/resolve/resolvetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend answers what it is told to, and counts.
type backend struct {
	asked  atomic.Int64
	digest digest.Digest
	err    error
	hold   chan struct{} // not nil: each look-up waits for it
}

func (b *backend) Resolve(ctx context.Context, _ resolve.Request) (resolve.Result, error) {
	b.asked.Add(1)
	if b.hold != nil {
		select {
		case <-b.hold:
		case <-ctx.Done():
			return resolve.Result{}, fmt.Errorf("%w: cut off", resolve.ErrUnavailable)
		}
	}
	return resolve.Result{Digest: b.digest}, b.err
}

func request(fresh bool, users ...string) resolve.Request {
	r := resolve.Request{Ref: ref.MustParse("ghcr.io/a/b:1"), Fresh: fresh}
	for _, u := range users {
		r.Credentials = append(r.Credentials, keychain.Credential{Auth: authn.AuthConfig{Username: u, Password: "p"}})
	}
	return r
}

// TestCacheFreshness goes through the life of an entry: each step is a moment, what the registry says then, who asks,
// and the answer.
func TestCacheFreshness(t *testing.T) {
	unavailable := fmt.Errorf("down: %w", resolve.ErrUnavailable)
	notFound := fmt.Errorf("gone: %w", resolve.ErrNotFound)
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := &resolve.Cache{Next: b}
		for i, step := range []struct {
			wait  time.Duration
			say   digest.Digest
			err   error
			fresh bool
			want  digest.Digest // "" for an error
			asked int64
			flags string
		}{
			{0, d("D1"), nil, false, d("D1"), 1, ""},
			{29 * time.Second, d("D2"), nil, false, d("D1"), 1, "cached"},
			{0, d("D2"), nil, true, d("D2"), 2, ""}, // a deploy always asks
			{29 * time.Second, d("D3"), nil, false, d("D2"), 2, "cached"},
			{2 * time.Second, d("D3"), nil, false, d("D3"), 3, ""},
			{31 * time.Second, "", unavailable, false, d("D3"), 4, "stale"},
			{time.Second, "", unavailable, false, d("D3"), 4, "stale"}, // the failure is remembered, and the answer too
			{time.Second, "", unavailable, true, "", 5, ""},            // never for a deploy
			{60 * time.Minute, "", unavailable, false, "", 6, ""},      // too old: an hour has passed since D3
			{6 * time.Second, d("D4"), nil, false, d("D4"), 7, ""},
			{31 * time.Second, "", notFound, false, "", 8, ""},  // taken back: nothing stale
			{time.Second, d("D5"), nil, false, "", 8, "cached"}, // remembered
			{time.Second, d("D5"), nil, true, d("D5"), 9, ""},   // a deploy ignores it
		} {
			time.Sleep(step.wait)
			b.digest, b.err = step.say, step.err
			got, err := c.Resolve(t.Context(), request(step.fresh))
			flags := ""
			if got.Stale {
				flags = "stale"
			} else if got.Cached {
				flags = "cached"
			}
			if got.Digest != step.want || (err != nil) != (step.want == "") || b.asked.Load() != step.asked || flags != step.flags {
				t.Errorf("step %d: Resolve = %+v, %v after %d look-ups, want %q %s after %d", i, got, err, b.asked.Load(), step.want, step.flags, step.asked)
			}
		}
	})
}

// The first of a revision is told nothing that was remembered, but what a registry that can't be reached said before.
func TestCacheAsksForTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1")}
		c := &resolve.Cache{Next: b}
		first := request(false)
		first.First = true
		ask := func(when string, want digest.Digest, stale bool, asked int64) {
			t.Helper()
			got, err := c.Resolve(t.Context(), first)
			if err != nil || got.Digest != want || got.Stale != stale || b.asked.Load() != asked {
				t.Errorf("%s: %+v, %v after %d look-ups, want %s, stale %t, after %d", when, got, err, b.asked.Load(), want, stale, asked)
			}
		}
		ask("cold", d("D1"), false, 1)
		b.digest = d("D2")
		ask("at once", d("D2"), false, 2)
		b.digest, b.err = "", fmt.Errorf("down: %w", resolve.ErrUnavailable)
		ask("the registry is down", d("D2"), true, 3)
		ask("which is remembered", d("D2"), true, 3)
	})
}

func TestCacheKeepsTenantsApart(t *testing.T) {
	b := &backend{digest: d("D1")}
	c := &resolve.Cache{Next: b}
	for _, users := range [][]string{nil, {"a"}, {"b"}, {"a", "b"}, {"b", "a"}} {
		if _, err := c.Resolve(t.Context(), request(false, users...)); err != nil {
			t.Fatal(err)
		}
	}
	if b.asked.Load() != 5 {
		t.Errorf("%d look-ups for 5 sets of credentials", b.asked.Load())
	}
	if _, err := c.Resolve(t.Context(), request(false, "a", "b")); err != nil || b.asked.Load() != 5 {
		t.Errorf("the same credentials asked again: %v", err)
	}
	unread := request(false)
	unread.Credentials = []keychain.Credential{{Unread: true}}
	if _, err := c.Resolve(t.Context(), unread); err != nil || b.asked.Load() != 6 {
		t.Errorf("without what could not be read: %v after %d look-ups, want one of its own", err, b.asked.Load())
	}
}

func TestCacheCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{digest: d("D1"), hold: make(chan struct{})}
		c := &resolve.Cache{Next: b}
		first, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Resolve(first, request(true)); !errors.Is(err, resolve.ErrUnavailable) {
				t.Errorf("the one that gave up: %v", err)
			}
		})
		synctest.Wait()
		for range 99 {
			wg.Go(func() {
				if got, err := c.Resolve(t.Context(), request(true)); err != nil || got.Digest != d("D1") {
					t.Errorf("Resolve = %v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		cancel() // who started it goes away: the others get their answer all the same
		synctest.Wait()
		close(b.hold)
		wg.Wait()
		c.Wait()
		if b.asked.Load() != 1 {
			t.Errorf("%d look-ups for 100 requests at once", b.asked.Load())
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	c := &resolve.Cache{Next: &backend{digest: d("D")}, Size: 10}
	for i := range 100 {
		r := request(false)
		r.Ref = ref.MustParse(fmt.Sprintf("ghcr.io/a/b:%d", i))
		if _, err := c.Resolve(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if c.Len() != 10 {
		t.Errorf("Len() = %d, want 10", c.Len())
	}
}

func BenchmarkCacheHit(b *testing.B) {
	c := &resolve.Cache{Next: &backend{digest: d("D")}}
	for name, r := range map[string]resolve.Request{"anonymous": request(false), "secret": request(false, "user")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Resolve(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// d is a digest that name stands for.
func d(name string) digest.Digest { return resolvetest.Digest(name) }
