// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// tenMinutes is an answer that asks to wait for ten minutes.
func tenMinutes(status int) *requestError {
	return &requestError{host: "r.example", status: status, retryAfter: 10 * time.Minute}
}

// TestOnePart checks that answers that a tenant can cause below paths of its own, however many, say
// nothing about other paths of the registry. Below the first part of its path, a repository shares
// the fate of the others: they may have the same server.
func TestOnePart(t *testing.T) {
	for _, tt := range []struct {
		status int
		user   string
		shared bool
	}{{503, "u", false}, {503, "", false}, {429, "", false}, {429, "shared", true}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGates()
			for range 5 {
				for i := range 20 {
					at(g, fmt.Sprintf("team-%d/x", i), tt.user, tt.shared).judge(tenMinutes(tt.status))
				}
				if err := closed(g, at(g, "app/y", tt.user, tt.shared).gates()); err != nil {
					t.Errorf("%+v: another part: %v", tt, err)
				}
				time.Sleep(10 * time.Second)
			}
			if closed(g, at(g, "team-1/y", tt.user, tt.shared).gates()) == nil {
				t.Errorf("%+v: the gate of the part is open, want it closed", tt)
			}
			err := closed(g, at(g, "team-1/y", "other", false).gates())
			if (err == nil) != (tt.status == 429) {
				t.Errorf("%+v: another credential in the part: %v", tt, err)
			}
		})
	}
}

// TestLimitOfOneNamespace checks that a limit of requests with a namespace's own credential closes
// nothing for another namespace that has the same one: a server below a path of the registry's host
// may belong to a tenant.
func TestLimitOfOneNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		first, next := at(g, "team-a/x", "u", false), at(g, "team-b/y", "u", false)
		first.Namespace, next.Namespace = "team", "team"
		first.judge(tenMinutes(429))
		if err := closed(g, next.gates()); !errors.Is(err, ErrOutage) {
			t.Errorf("the credential's gate: %v, want it closed by the limit", err)
		}
		other := at(g, "team-b/y", "u", false)
		other.Namespace = "other"
		if err := closed(g, other.gates()); err != nil {
			t.Errorf("another namespace: %v", err)
		}
	})
}

// TestFullOutage checks that a registry that is out of service is asked about once for each part of
// it and time of waiting, however many lookups there are, and that its answers open all gates.
func TestFullOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, down := 0, true
		c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; down {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		ask := func() (failed int) {
			for i := range 200 {
				image := fmt.Sprintf("r.example/team-%d/app%d:1", i%10, i)
				if _, err := c.Head(t.Context(), head(image, fmt.Sprint("ns", i%7))); err != nil {
					failed++
				}
			}
			return failed
		}
		for range 60 {
			if failed := ask(); failed != 200 {
				t.Fatalf("%d of 200 lookups failed, want all", failed)
			}
			time.Sleep(time.Second)
		}
		if asked > 10*7 { // after 1, 2, 4, 8, 16 and 30 s
			t.Errorf("%d requests in a minute, want at most 7 for each of 10 parts", asked)
		}
		down = false
		time.Sleep(unreachable.most)
		if failed := ask(); failed != 0 {
			t.Errorf("%d lookups failed when the registry was back, want none", failed)
		}
	})
}

// TestSlowOutage checks that slow failures below one path delay no lookups below others, not even
// after a time in which the registry could not be reached: once a connection is made, the answers
// of one team's server are no try for others.
func TestSlowOutage(t *testing.T) {
	for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
		synctest.Test(t, func(t *testing.T) {
			c := over(handler(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/v2/slow") {
					time.Sleep(4500 * time.Millisecond)
					w.WriteHeader(status)
				}
			}))
			for range 3 { // a real outage
				c.one(head("r.example/app:1", "b")).judge(tenMinutes(status))
				c.one(head("r.example/app:1", "b")).judge(&requestError{evidence: network.NotConnected})
			}
			time.Sleep(maxRetryAfter)
			ctx, stop := context.WithCancel(t.Context())
			var slow sync.WaitGroup
			for i := range 16 {
				slow.Go(func() {
					for ctx.Err() == nil {
						image := fmt.Sprintf("r.example/slow%d/app:1", i)
						_, _ = c.Head(ctx, head(image, "a"))
						time.Sleep(10 * time.Millisecond)
					}
				})
			}
			delays := 0
			for range 60 {
				synctest.Wait()
				begin := time.Now()
				if _, err := c.Head(t.Context(), head("r.example/app:1", "b")); err != nil {
					t.Fatal(err)
				}
				if time.Since(begin) > time.Second {
					delays++
				}
				time.Sleep(time.Second)
			}
			stop()
			slow.Wait()
			if delays > 1 {
				t.Errorf("%d: %d of 60 lookups waited for another path, want 1 at most", status, delays)
			}
		})
	}
}

// TestForeignRealm checks that a token endpoint elsewhere, which limits requests, closes only the
// repositories that name it, and that no other repository is led there.
func TestForeignRealm(t *testing.T) {
	var asked []string
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Host+r.URL.Path)
		realm := "https://r.example/token"
		switch {
		case r.URL.Host == "evil.example":
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		case strings.HasPrefix(r.URL.Path, "/v2/team-a/"):
			realm = "https://evil.example/token"
		}
		withToken(realm, nil)(w, r)
	}))
	for i := range 6 {
		if _, err := c.Head(t.Context(), head(fmt.Sprint("r.example/team-a/", i, ":1"), "a")); err == nil {
			t.Fatal("Head = nil, want an error")
		}
	}
	c.check(t, "r.example/app:1", "b", true)
	asked = nil
	if _, err := c.Head(t.Context(), head("r.example/app:1", "b")); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(asked, "evil.example/token") {
		t.Errorf("requests = %q, want none to another repository's token endpoint", asked)
	}
}

// TestOneTriesWithForeignTokens checks that one lookup tries a gate whose time is over, and that
// the others wait for what comes of it, also if each of them has to get a token elsewhere first.
// While they wait for the tokens, none of them holds the gate. Lookups that waited for a token when
// the gate was closed are stopped too.
func TestOneTriesWithForeignTokens(t *testing.T) {
	const lookups = 10
	for name, tt := range map[string]struct {
		status, want int           // the answer, and the requests with a token that the registry gets
		limited      bool          // before
		wait         time.Duration // between the first token and the others
	}{
		"limited again":     {http.StatusTooManyRequests, 1, true, 0},
		"limited no longer": {http.StatusOK, lookups, true, 0},
		"limited meanwhile": {http.StatusTooManyRequests, 1, false, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int64
				tokens := make(chan struct{}, lookups)
				c := over(handler(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/token" {
						<-tokens
					}
					withToken("https://auth.example/token", func(w http.ResponseWriter, _ *http.Request) {
						asked.Add(1)
						time.Sleep(100 * time.Millisecond)
						w.WriteHeader(tt.status)
					})(w, r)
				}))
				if tt.limited {
					c.one(head("r.example/lib/app:1", "a")).judge(&requestError{status: 429})
					time.Sleep(limited.first)
				}
				var wg sync.WaitGroup
				for i := range lookups {
					wg.Go(func() {
						_, err := c.Head(t.Context(), head(fmt.Sprintf("r.example/lib/app%d:1", i), "a"))
						if (err == nil) != (tt.status == http.StatusOK) {
							t.Errorf("Head = %v after %d", err, tt.status)
						}
					})
				}
				synctest.Wait()
				if taken, trying, err := c.gates.pass(c.one(head("r.example/lib/b:1", "b")).gates(), false); trying != nil || err != nil {
					t.Errorf("gates = %v, %v, %v, want that others may try them", taken, trying, err)
				}
				tokens <- struct{}{}
				synctest.Wait()
				time.Sleep(tt.wait)
				close(tokens)
				wg.Wait()
				if n := int(asked.Load()); n != tt.want {
					t.Errorf("%d requests with a token, want %d", n, tt.want)
				}
				c.Learned.Close()
			})
		})
	}
}

// TestWaitsForATryWithAToken checks that a lookup that has its token and then only waits, until its
// time is over, for another one that tries a gate, says nothing about the registry to other
// namespaces.
func TestWaitsForATryWithAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, token := make(chan struct{}), make(chan struct{})
		c := over(handler(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Query().Get("scope"), "lib/waits") {
				<-token
			}
			withToken("https://auth.example/token", func(http.ResponseWriter, *http.Request) { <-end })(w, r)
		}))
		c.one(head("r.example/lib/app:1", "a")).judge(&requestError{status: 429})
		time.Sleep(limited.first)
		var wg sync.WaitGroup
		var err error
		wg.Go(func() { _, err = c.Head(t.Context(), head("r.example/lib/waits:1", "a")) })
		time.Sleep(time.Second)
		var tries sync.WaitGroup
		tries.Go(func() { _, _ = c.Head(t.Context(), head("r.example/lib/tries:1", "b")) })
		synctest.Wait()
		close(token)
		wg.Wait()
		const says = "r.example: another lookup was trying whether it is available again"
		if !errors.Is(err, ErrNoAnswer) || !errors.Is(err, ErrOfNamespace) || errors.Is(err, ErrOutage) ||
			!strings.HasPrefix(fmt.Sprint(err), says) {
			t.Errorf("Head = %v, want that it is of the namespace, and %s", err, says)
		}
		close(end)
		tries.Wait()
		c.Learned.Close()
	})
}

// TestWaitsForATry checks that a lookup that only waits, until its time is over, for another one
// that tries a gate, says so, and not that it had no place among the requests.
func TestWaitsForATry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeld(Host{MaxInFlight: 8})
		ctx, cancel := context.WithCancel(t.Context())
		h.one(head("r.example/a:1", "a")).judge(&requestError{evidence: network.Broken})
		time.Sleep(time.Second)
		h.ask(ctx, "r.example/a:1", "a") // tries the gate
		h.wantAsked(t, 1)
		late, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		_, err := h.Head(late, head("r.example/a:2", "b"))
		const says = "r.example: another lookup was trying whether it is available again"
		if !errors.Is(err, ErrNoAnswer) || !strings.HasPrefix(fmt.Sprint(err), says) {
			t.Errorf("Head = %v, want %s", err, says)
		}
		cancel()
		synctest.Wait()
	})
}

// TestShortOutage checks that a 503 stops no lookups for longer than maxOutage, whatever the
// registry asks for, and that a limit of requests holds for as long as the registry asks, up to
// maxRetryAfter. What is shorter than the registry asks is no wish of the registry, and its error
// still says what that is.
func TestShortOutage(t *testing.T) {
	for _, tt := range []struct {
		status, asks int // seconds
		want         time.Duration
		asked        bool
	}{
		{http.StatusServiceUnavailable, 30, maxOutage, true},
		{http.StatusServiceUnavailable, 3600, maxOutage, false},
		{http.StatusTooManyRequests, 600, maxRetryAfter, true},
		{http.StatusTooManyRequests, 3600, maxRetryAfter, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := over(handler(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", fmt.Sprint(tt.asks))
				w.WriteHeader(tt.status)
			}))
			_, err := c.Head(t.Context(), head("r.example/lib/app:1", "a"))
			says := fmt.Sprintf("%s, to be asked again in %ds", http.StatusText(tt.status), tt.asks)
			if !strings.HasSuffix(err.Error(), says) {
				t.Errorf("Head = %v, want %s", err, says)
			}
			for _, when := range []string{"the registry's answer", "remembered"} {
				if wait, asked := RetryAfter(err); wait != tt.want || asked != tt.asked {
					t.Errorf("%v, %s: RetryAfter = %v, %t, want %v, %t", tt, when, wait, asked, tt.want, tt.asked)
				}
				_, err = c.Head(t.Context(), head("r.example/lib/app:1", "a"))
			}
			time.Sleep(tt.want - time.Second)
			c.check(t, "r.example/lib/other:1", "b", false)
			time.Sleep(time.Second)
			c.check(t, "r.example/lib/other:1", "b", true)
		})
	}
}
