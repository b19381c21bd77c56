// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// tenMinutes is an answer that asks to wait for ten minutes.
func tenMinutes(status int) *requestError {
	return &requestError{host: "r.example", status: status, retryAfter: 10 * time.Minute}
}

// TestOneRepository checks that a repository whose own server is out of service, or limits requests
// without a credential of the namespace's own, is not asked for as long as it says. Other
// repositories are asked.
func TestOneRepository(t *testing.T) {
	for _, tt := range []struct {
		status int
		user   string
		shared bool
	}{{503, "u", false}, {429, "", false}, {429, "shared", true}} {
		synctest.Test(t, func(t *testing.T) {
			g := newGates()
			for i := range 10 {
				at(g, "team-a/x", tt.user, tt.shared).judge(tenMinutes(tt.status))
				at(g, fmt.Sprint("team-a/y", i), tt.user, tt.shared).judge(tenMinutes(tt.status))
				time.Sleep(10 * time.Second)
			}
			if closed(g, at(g, "team-a/x", tt.user, tt.shared).gates()) == nil {
				t.Errorf("%+v: the repository's gate is open, want it closed", tt)
			}
			if err := closed(g, at(g, "team-b/y", tt.user, tt.shared).gates()); err != nil {
				t.Errorf("%+v: another repository: %v", tt, err)
			}
		})
	}
}

// TestRegistryOutOfService checks that several repositories without service close the registry, but
// not for as long as one of them says. Then one request tries, and closes it again.
func TestRegistryOutOfService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team-b/y", "", false)
		for i := range outage.count {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d repositories: %v", i, err)
			}
			at(g, fmt.Sprintf("team-%d/x", i), "u", false).judge(tenMinutes(503))
		}
		for range 3 {
			err := asError(closed(g, other.gates()))
			if err == nil || err.retryAfter != maxOutage {
				t.Fatalf("registry's gate: %v, want it closed for %v", err, maxOutage)
			}
			time.Sleep(maxOutage)
			taken, passErr := pass(t.Context(), g, other.gates())
			if passErr != nil {
				t.Fatal(passErr)
			}
			again := tenMinutes(503)
			again.retryAfter = maxOutage // so that the repository's gate opens at the same time
			other.judge(again)
			g.done(taken, true)
		}
	})
}

// TestRegistryLimited checks that several repositories that limit requests without a credential
// close the registry for such requests, for a minute at most. Answers to a credential say nothing
// about that.
func TestRegistryLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team-b/y", "", false)
		for i := range outage.count {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d repositories: %v", i, err)
			}
			at(g, fmt.Sprintf("team-%d/x", i), "", false).judge(tenMinutes(429))
			at(g, "team-c/z", "u", false).judge(&requestError{status: 404})
		}
		err := asError(closed(g, other.gates()))
		if err == nil || err.retryAfter != maxOutage {
			t.Errorf("gate of anonymous requests: %v, want it closed for %v", err, maxOutage)
		}
		if err := closed(g, at(g, "team-b/y", "u", false).gates()); err != nil {
			t.Errorf("with a credential: %v, want its gates open", err)
		}
	})
}

// TestFailuresAreForgotten checks that failures of repositories count only if no other one has
// answered between them, and only for a while.
func TestFailuresAreForgotten(t *testing.T) {
	for name, tt := range map[string]struct {
		status  int
		between func(g *gates)
	}{
		"an answer": {503, func(g *gates) { at(g, "b", "", false).served() }},
		"not found": {503, func(g *gates) { at(g, "b", "", false).judge(&requestError{status: 404}) }},
		"refused":   {503, func(g *gates) { at(g, "b", "v", false).judge(refusal()) }},
		"time":      {503, func(*gates) { time.Sleep(maxOutage) }},
		"limit":     {429, func(g *gates) { at(g, "b", "", false).judge(&requestError{status: 404}) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				for i := range 3 * outage.count {
					tt.between(g)
					at(g, fmt.Sprintf("team-%d/x", i), "", false).judge(tenMinutes(tt.status))
				}
				if err := closed(g, at(g, "team-b/y", "", false).gates()); err != nil {
					t.Errorf("registry's gate: %v, want it open", err)
				}
			})
		})
	}
}

// TestOutageIsNotHidden checks that answers that say nothing about the registry itself don't count
// as a success.
func TestOutageIsNotHidden(t *testing.T) {
	for name, e := range map[string]requestError{
		"of the token endpoint": {status: 401, token: true},
		"of another host":       {status: 404, via: "b.example"},
		"too many requests":     {status: 429},
		"no answer":             {evidence: network.Broken},
		"a server's error":      {status: 500},
		"remembered":            {status: 404, remembered: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGates()
			for i := range outage.count {
				at(g, "team-b/x", "v", false).judge(&e)
				at(g, fmt.Sprintf("team-%d/x", i), "u", false).judge(tenMinutes(503))
			}
			if closed(g, at(g, "team-b/y", "u", false).gates()) == nil {
				t.Error("the registry's gate is open, want it closed")
			}
		})
	}
}

// TestAnswersKeepARegistryOpen checks that repositories that are out of service close a registry
// for no other one while other repositories answer.
func TestAnswersKeepARegistryOpen(t *testing.T) {
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v2/team-a/") {
			w.Header().Set("Retry-After", "600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	for i := range 3 * outage.count {
		if _, err := c.Head(t.Context(), head("r.example/app:1", "b")); err != nil {
			t.Fatalf("after %d repositories: %v", i, err)
		}
		if _, err := c.Head(t.Context(), head(fmt.Sprint("r.example/team-a/", i, ":1"), "a")); err == nil {
			t.Fatal("Head = nil, want an error")
		}
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
	for i := range 2 * outage.count {
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
