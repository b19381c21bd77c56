// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// unavailable is a server's answer that it is out of service for ten minutes.
func unavailable() *requestError {
	return &requestError{host: "r.example", status: 503, retryAfter: 10 * time.Minute}
}

// A repository whose own server is out of service, behind a host that routes by path, is not asked
// for as long as it says. Other repositories are.
func TestOneRepositoryOutOfService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		for i := range 10 {
			at(g, "team-a/x", "u", false).judge(unavailable())
			at(g, "team-a/x", "v", false).judge(unavailable())
			at(g, fmt.Sprint("team-a/y", i), "v", false).judge(unavailable())
			time.Sleep(10 * time.Second)
		}
		if closed(g, at(g, "team-a/x", "u", false).gates()) == nil {
			t.Error("the repository is asked, want its gate closed")
		}
		if err := closed(g, at(g, "team-b/y", "u", false).gates()); err != nil {
			t.Errorf("another repository: %v", err)
		}
	})
}

// A registry is out of service when several repositories are. How long it is not asked then is not
// for one of them to say. One request tries again, and closes it once more.
func TestRegistryOutOfService(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team-b/y", "", false)
		for i := range outage.count {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d repositories: %v", i, err)
			}
			at(g, fmt.Sprintf("team-%d/x", i), "u", false).judge(unavailable())
		}
		for range 3 {
			err := asError(closed(g, other.gates()))
			if err == nil || err.retryAfter != maxOutage {
				t.Fatalf("the registry's gate says %v, want it closed for %v", err, maxOutage)
			}
			time.Sleep(maxOutage)
			held, passErr := pass(t.Context(), g, other.gates())
			if passErr != nil {
				t.Fatal(passErr)
			}
			again := unavailable()
			again.retryAfter = maxOutage // so that its own gate is open again too
			other.judge(again)
			g.done(held, true)
		}
	})
}

// Failures of repositories count only if no other one has answered meanwhile, and only for a while.
func TestOutageIsForgotten(t *testing.T) {
	for name, between := range map[string]func(g *gates){
		"an answer":           func(g *gates) { g.forgive(at(g, "b", "", false).gate(ofRegistry)) },
		"not found":           func(g *gates) { at(g, "b", "", false).judge(&requestError{status: 404}) },
		"refused":             func(g *gates) { at(g, "b", "v", false).judge(refusal()) },
		"a long time without": func(*gates) { time.Sleep(maxOutage) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGates()
				for i := range 3 * outage.count {
					between(g)
					at(g, fmt.Sprintf("team-%d/x", i), "u", false).judge(unavailable())
				}
				if err := closed(g, at(g, "team-b/y", "u", false).gates()); err != nil {
					t.Errorf("the registry's gate says %v, want it open", err)
				}
			})
		})
	}
}

// Answers that say nothing about the registry itself don't count as a success.
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
				at(g, fmt.Sprintf("team-%d/x", i), "u", false).judge(unavailable())
			}
			if closed(g, at(g, "team-b/y", "u", false).gates()) == nil {
				t.Error("the registry's gate is open, want it closed")
			}
		})
	}
}

// routed is a host that routes by path: what begins with team-a is out of service.
type routed struct{}

func (routed) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	if strings.HasPrefix(r.URL.Path, "/v2/team-a/") {
		resp.StatusCode = http.StatusServiceUnavailable
		resp.Header.Set("Retry-After", "600")
	}
	return resp, nil
}

// While other repositories answer, those that are out of service close the registry for nobody.
func TestAnswersKeepARegistryOpen(t *testing.T) {
	c := &Client{}
	_ = c.Init()
	c.over(routed{})
	for i := range 3 * outage.count {
		if _, err := c.Head(t.Context(), head("r.example/app:1", "b")); err != nil {
			t.Fatalf("after %d repositories: %v", i, err)
		}
		image := fmt.Sprint("r.example/team-a/", i, ":1")
		if _, err := c.Head(t.Context(), head(image, "a")); err == nil {
			t.Fatal("an answer")
		}
	}
}
