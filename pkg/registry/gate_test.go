// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// at is a look-up of a repository with a user's credential, without a network behind it.
func at(g *gates, path, user string, shared bool) *lookup {
	l := &lookup{client: &Client{}, state: &state{Learned: &Learned{gates: g}}, host: Host{Name: "r.example"}, api: "r.example", origin: "r.example", path: path}
	if user != "" {
		l.auth = authn.AuthConfig{Username: user, Password: "canary"}
	}
	l.who = l.state.identity(l.auth)
	l.req = Request{Ref: ref.MustParse("r.example/" + path), Auth: l.auth, Shared: shared}
	return l
}

// pass waits and takes the gates, as turn does without a queue.
func pass(ctx context.Context, g *gates, keys []gateKey) ([]*gate, error) {
	for {
		if err := g.wait(ctx, keys, func() {}); err != nil {
			return nil, err
		}
		held, err := g.take(keys)
		if !errors.Is(err, errTrying) {
			return held, err
		}
	}
}

// closed is the error of the first gate that is closed.
func closed(g *gates, keys []gateKey) error {
	_, err := g.look(keys)
	return err
}

// TestJudge has for each answer whom it closes a gate for.
func TestJudge(t *testing.T) {
	const nobody, repository, credential, all = "", "repository", "credential", "all"
	const minute = time.Minute
	for name, tt := range map[string]struct {
		err    Error
		shared bool
		want   string
		wait   time.Duration
	}{
		"no connection":             {Error{network: notConnected}, false, all, time.Second},
		"no connection to a realm":  {Error{network: notConnected, Token: true}, false, repository, time.Second},
		"nor to who it named":       {Error{network: notConnected, via: "b.example"}, false, repository, time.Second},
		"hangs":                     {Error{network: broken}, false, repository, time.Second},
		"503":                       {Error{Status: 503}, false, repository, time.Second},
		"503 for a minute":          {Error{Status: 503, RetryAfter: minute}, false, repository, minute},
		"503 of a realm":            {Error{Status: 503, Token: true}, false, repository, time.Second},
		"503 elsewhere":             {Error{Status: 503, via: "b.example"}, false, repository, time.Second},
		"429":                       {Error{Status: 429, RetryAfter: 17 * time.Second}, false, credential, 17 * time.Second},
		"429 without a time":        {Error{Status: 429}, false, credential, 5 * time.Second},
		"429 for all who share it":  {Error{Status: 429}, true, repository, 5 * time.Second},
		"429 of a realm":            {Error{Status: 429, Token: true}, false, credential, 5 * time.Second},
		"429 of a foreign realm":    {Error{Status: 429, Token: true, foreign: true}, false, repository, time.Second},
		"429 elsewhere":             {Error{Status: 429, via: "b.example"}, false, repository, time.Second},
		"429 for a day":             {Error{Status: 429, RetryAfter: 24 * time.Hour}, false, credential, 10 * time.Minute},
		"login":                     {Error{Status: 401, login: true}, false, repository, 30 * time.Second},
		"request that was not sent": {Error{network: unknown}, false, nobody, 0},
		"login that all share":      {Error{Status: 401, login: true}, true, repository, 30 * time.Second},
		"401":                       {Error{Status: 401}, false, nobody, 0},
		"404":                       {Error{Status: 404}, false, nobody, 0},
		"500":                       {Error{Status: 500}, false, nobody, 0},
		"refused by our own rules":  {Error{Refused: true, network: notConnected}, false, nobody, 0},
		"remembered":                {Error{Status: 429, remembered: true}, false, nobody, 0},
		"realm on a foreign domain": {Error{Withheld: true}, false, nobody, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				l := at(g, "a", "u", tt.shared)
				l.judge(&tt.err)
				gates := map[string]error{
					repository: closed(g, l.gates()),
					credential: closed(g, at(g, "b", "u", tt.shared).gates()),
					all:        closed(g, at(g, "b", "", false).gates()),
				}
				order := map[string]int{nobody: 0, repository: 1, credential: 2, all: 3}
				for who, err := range gates {
					if (err != nil) != (order[who] <= order[tt.want]) {
						t.Errorf("for %s: %v, want it closed for %s", who, err, tt.want)
					}
				}
				time.Sleep(tt.wait)
				if err := closed(g, l.gates()); err != nil {
					t.Errorf("after %v: %v", tt.wait, err)
				}
			})
		})
	}
}

// Failures in a row make the time longer, those of requests side by side do not, and an answer ends the row.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		l := at(g, "a", "", false)
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 30, -1, 1, 2} {
			if want < 0 {
				held, err := pass(t.Context(), g, l.gates())
				if err != nil {
					t.Fatal(err)
				}
				g.done(held, true)
				continue
			}
			for range 5 {
				l.judge(&Error{Host: "r.example", network: notConnected})
			}
			err := AsError(closed(g, l.gates()))
			if err == nil || err.RetryAfter != want*time.Second || !strings.Contains(err.Error(), fmt.Sprintf("r.example: unreachable a moment ago; not asked again for %ds", want)) {
				t.Errorf("%v, want it closed for %ds", err, want)
			}
			time.Sleep(want * time.Second)
		}
	})
}

// TestOneTriesAgain: when a gate's time is over one request goes, and what comes of it is for those that wait.
func TestOneTriesAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		err         *Error // of the one that tries; nil: an answer
		undecided   bool   // its caller went away
		wantThrough int
	}{
		"an answer":  {nil, false, 9},
		"404":        {&Error{Status: 404}, false, 9},
		"again none": {&Error{network: notConnected}, false, 0},
		"gave it up": {nil, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				l := at(g, "a", "", false)
				l.judge(&Error{network: notConnected})
				time.Sleep(time.Second)
				first, err := pass(t.Context(), g, l.gates())
				if err != nil || len(first) != 1 {
					t.Fatalf("pass = %v, %v, want to try one gate", first, err)
				}
				through, refused := make(chan []*gate, 9), make(chan error, 9)
				ctx, cancel := context.WithCancel(t.Context())
				for range 9 {
					go func() {
						held, err := pass(ctx, g, at(g, "b", "", false).gates())
						if err != nil {
							refused <- err
							return
						}
						through <- held
					}()
				}
				synctest.Wait()
				if len(through)+len(refused) != 0 {
					t.Fatalf("%d went and %d were refused while one tried", len(through), len(refused))
				}
				if tt.err != nil {
					l.judge(tt.err)
				}
				g.done(first, !tt.undecided)
				synctest.Wait()
				if len(through) != tt.wantThrough {
					t.Errorf("%d went, want %d", len(through), tt.wantThrough)
				}
				cancel()
				synctest.Wait()
				if len(through)+len(refused) != 9 {
					t.Errorf("%d went and %d were refused, want 9", len(through), len(refused))
				}
			})
		})
	}
}

// A gate that is forgotten for want of room leaves nobody waiting.
func TestGateForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		l := at(g, "a", "", false)
		l.judge(&Error{Status: 503})
		time.Sleep(time.Second)
		held, err := pass(t.Context(), g, l.gates())
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() { _, err := pass(t.Context(), g, l.gates()); waited <- err }()
		synctest.Wait()
		for i := range maxGates {
			g.close(gateKey{host: fmt.Sprint(i)}, "", &Error{}, limited)
		}
		g.done(held, true)
		if err := <-waited; err != nil {
			t.Errorf("who waited: %v", err)
		}
		if n := g.all.Len(); n != maxGates {
			t.Errorf("%d gates, want %d", n, maxGates)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // whose clock stands still
		for text, want := range map[string]time.Duration{
			"17": 17 * time.Second, " 17 ": 17 * time.Second, "0": 0, "-1": 0, "": 0, "soon": 0, "1.5": 0, "999999999": maxRetryAfter, "99999999999": maxRetryAfter,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
			time.Now().Add(time.Hour).UTC().Format(time.RFC850):        maxRetryAfter,
		} {
			if got := retryAfter(http.Header{"Retry-After": {text}}); got != want {
				t.Errorf("retryAfter(%q) = %v, want %v", text, got, want)
			}
		}
	})
}

// Made-up registries of one namespace push out none of the gates that others have met.
func TestGatesAreShared(t *testing.T) {
	g := newGates()
	key := gateKey{host: "docker.io", all: true}
	g.close(key, "modest", &Error{Status: 429, RetryAfter: time.Minute}, limited)
	for i := range 2 * maxGates {
		g.close(gateKey{host: fmt.Sprint(i), all: true}, "flood", &Error{network: notConnected}, unreachable)
	}
	if _, err := g.look([]gateKey{key}); err == nil {
		t.Error("the gate of another namespace's registry is forgotten")
	}
}
