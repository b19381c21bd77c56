// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// at returns a lookup in a repository with a user's credential.
func at(g *gates, path, user string, shared bool) *lookup {
	c := &Client{Learned: &Learned{gates: g}}
	credential := keychain.Credential{Shared: shared}
	if user != "" {
		credential.Auth = authn.AuthConfig{Username: user, Password: "canary"}
	}
	return c.lookup("r.example", head("r.example/"+path, ""), credential, new(slot))
}

// pass waits until the gates let a request pass, as lookup.beginRequest does.
func pass(ctx context.Context, g *gates, keys []gateKey) ([]*gate, error) {
	for {
		taken, trying, err := g.pass(keys, true)
		if trying == nil {
			return taken, err
		}
		select {
		case <-trying:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TestJudge checks which gate each answer closes, and for how long.
func TestJudge(t *testing.T) {
	const none, repository, credential, all = "none", "repository", "credential", "all"
	const minute = time.Minute
	for name, tt := range map[string]struct {
		err    requestError
		shared bool
		want   string
		wait   time.Duration
	}{
		"no connection":             {requestError{evidence: network.NotConnected}, false, all, time.Second},
		"no connection to a realm":  {requestError{evidence: network.NotConnected, token: true}, false, repository, time.Second},
		"no connection elsewhere":   {requestError{evidence: network.NotConnected, via: "b.example"}, false, repository, time.Second},
		"hangs":                     {requestError{evidence: network.Broken}, false, repository, time.Second},
		"503":                       {requestError{status: 503}, false, repository, time.Second},
		"503 for a minute":          {requestError{status: 503, retryAfter: minute}, false, repository, minute},
		"503 of a realm":            {requestError{status: 503, token: true}, false, repository, time.Second},
		"503 elsewhere":             {requestError{status: 503, via: "b.example"}, false, repository, time.Second},
		"429":                       {requestError{status: 429, retryAfter: 17 * time.Second}, false, credential, 17 * time.Second},
		"429 without a time":        {requestError{status: 429}, false, credential, 5 * time.Second},
		"429 for a shared login":    {requestError{status: 429}, true, repository, 5 * time.Second},
		"429 of a realm":            {requestError{status: 429, token: true}, false, credential, 5 * time.Second},
		"429 of a foreign realm":    {requestError{status: 429, token: true, foreign: true}, false, repository, time.Second},
		"429 elsewhere":             {requestError{status: 429, via: "b.example"}, false, repository, time.Second},
		"429 for a day":             {requestError{status: 429, retryAfter: 24 * time.Hour}, false, credential, 10 * time.Minute},
		"login":                     {requestError{status: 401, login: true}, false, repository, 30 * time.Second},
		"request that was not sent": {requestError{evidence: network.Nothing}, false, none, 0},
		"shared login":              {requestError{status: 401, login: true}, true, repository, 30 * time.Second},
		"401":                       {requestError{status: 401}, false, none, 0},
		"404":                       {requestError{status: 404}, false, none, 0},
		"500":                       {requestError{status: 500}, false, none, 0},
		"refused by our own rules":  {requestError{class: failure.Invalid, evidence: network.NotConnected}, false, none, 0},
		"remembered":                {requestError{status: 429, remembered: true}, false, none, 0},
		"realm on a foreign domain": {requestError{class: failure.Unauthorized}, false, none, 0},
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
				order := map[string]int{none: 0, repository: 1, credential: 2, all: 3}
				for kind, err := range gates {
					if (err != nil) != (order[kind] <= order[tt.want]) {
						t.Errorf("gate of %s: %v, want the gate of %s closed", kind, err, tt.want)
					}
				}
				time.Sleep(tt.wait)
				if err := closed(g, l.gates()); err != nil {
					t.Errorf("after %v: %v, want the gates open", tt.wait, err)
				}
			})
		})
	}
}

// TestBackoff checks that failures in a row make the time longer, that those of requests at the
// same time count once, and that an answer ends the row.
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
				l.judge(&requestError{host: "r.example", evidence: network.NotConnected})
			}
			err := asError(closed(g, l.gates()))
			if err == nil || err.retryAfter != want*time.Second || !strings.Contains(err.Error(), fmt.Sprintf("r.example: unreachable a moment ago; not asked again for %ds", want)) {
				t.Errorf("registry's gate: %v, want it closed for %ds", err, want)
			}
			time.Sleep(want * time.Second)
		}
	})
}

// TestOneTriesAgain checks that one request tries a gate when its time is over, and that the others
// wait for what comes of it.
func TestOneTriesAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		err         *requestError // of the request that tries; nil for an answer
		undecided   bool          // the caller of that request leaves
		wantThrough int
	}{
		"an answer":  {nil, false, 9},
		"404":        {&requestError{status: 404}, false, 9},
		"again none": {&requestError{evidence: network.NotConnected}, false, 0},
		"it leaves":  {nil, true, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				l := at(g, "a", "", false)
				l.judge(&requestError{evidence: network.NotConnected})
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
					t.Fatalf("%d passed and %d failed while one request tried, want none", len(through), len(refused))
				}
				if tt.err != nil {
					l.judge(tt.err)
				}
				g.done(first, !tt.undecided)
				synctest.Wait()
				if len(through) != tt.wantThrough {
					t.Errorf("%d passed, want %d", len(through), tt.wantThrough)
				}
				cancel()
				synctest.Wait()
				if len(through)+len(refused) != 9 {
					t.Errorf("%d passed and %d failed, want 9 in all", len(through), len(refused))
				}
			})
		})
	}
}

// TestGateForgotten checks that requests that wait for a gate are not stuck if the gate is
// forgotten for lack of room.
func TestGateForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		l := at(g, "a", "", false)
		l.judge(&requestError{status: 503})
		time.Sleep(time.Second)
		held, err := pass(t.Context(), g, l.gates())
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() { _, err := pass(t.Context(), g, l.gates()); waited <- err }()
		synctest.Wait()
		for i := range maxGates {
			g.close(gateKey{origin: fmt.Sprint(i)}, "", &requestError{}, limited)
		}
		g.done(held, true)
		if err := <-waited; err != nil {
			t.Errorf("the request that waited: %v", err)
		}
		if n := g.all.Len(); n != maxGates {
			t.Errorf("%d gates, want %d", n, maxGates)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // its clock stands still
		for text, want := range map[string]time.Duration{
			"17": 17 * time.Second, " 17 ": 17 * time.Second, "0": 0, "-1": 0, "": 0, "soon": 0, "1.5": 0, "999999999": maxNamed, "99999999999": maxNamed,
			"99999999999999999999": maxNamed, "3600": time.Hour,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):  time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat): 0,
			time.Now().Add(time.Hour).UTC().Format(time.RFC850):        time.Hour,
		} {
			if got := parseRetryAfter(http.Header{"Retry-After": {text}}); got != want {
				t.Errorf("parseRetryAfter(%q) = %v, want %v", text, got, want)
			}
		}
	})
}

// TestGatesAreShared checks that made-up registries of one namespace make tagpin forget no gate
// that another namespace has closed.
func TestGatesAreShared(t *testing.T) {
	g := newGates()
	key := gateKey{origin: "docker.io"}
	g.close(key, "modest", &requestError{status: 429, retryAfter: time.Minute}, limited)
	for i := range 2 * maxGates {
		g.close(gateKey{origin: fmt.Sprint(i)}, "flood", &requestError{evidence: network.NotConnected}, unreachable)
	}
	if closed(g, []gateKey{key}) == nil {
		t.Error("the gate of another namespace's registry is forgotten")
	}
}

// TestGatesAreSmall checks that a gate keeps nothing of an answer, which may be long.
func TestGatesAreSmall(t *testing.T) {
	const gates, answer = 1000, 30 << 10
	g := newGates()
	before := heap()
	for i := range gates {
		long := strings.Repeat(fmt.Sprint(i%10), answer)
		l := at(g, fmt.Sprint("app", i), "", false)
		l.judge(&requestError{
			host: long[:10], via: long[:20], reason: long[:30], evidence: network.Broken,
			err: &url.Error{Op: "Head", URL: long, Err: io.EOF},
		})
	}
	if n := g.all.Len(); n != gates {
		t.Fatalf("%d gates, want %d", n, gates)
	}
	if size := (heap() - before) / gates; size > 4<<10 {
		t.Errorf("a gate holds %d bytes, want at most 4 KiB", size)
	}
	runtime.KeepAlive(g)
}
