// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tooBusy is a server's answer that it limits requests, and is to be asked again in ten minutes.
func tooBusy() *requestError {
	return &requestError{host: "r.example", status: 429, retryAfter: 10 * time.Minute}
}

// A repository whose own server limits requests is not asked for as long as it says. Other
// repositories are, as long as the credential is nobody's or a shared one.
func TestOneRepositoryLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, user := range []string{"", "shared"} {
			g := newGates()
			for i := range 10 {
				at(g, "team-a/x", user, true).judge(tooBusy())
				at(g, fmt.Sprint("team-a/y", i), user, true).judge(tooBusy())
				time.Sleep(time.Second)
			}
			if closed(g, at(g, "team-a/x", user, true).gates()) == nil {
				t.Errorf("by %q, the repository is asked, want its gate closed", user)
			}
			if err := closed(g, at(g, "team-b/y", user, true).gates()); err != nil {
				t.Errorf("by %q, another repository: %v", user, err)
			}
		}
	})
}

// Three repositories without an answer between them close the registry for who has no credential of
// their own, for a minute at most. Answers to other credentials say nothing about it.
func TestRegistryLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGates()
		other := at(g, "team-b/y", "", false)
		for i := range outage.count {
			if err := closed(g, other.gates()); err != nil {
				t.Fatalf("after %d repositories: %v", i, err)
			}
			at(g, fmt.Sprintf("team-%d/x", i), "", false).judge(tooBusy())
			at(g, "team-c/z", "u", false).judge(&requestError{status: 404})
		}
		err := asError(closed(g, other.gates()))
		if err == nil || err.retryAfter != maxOutage {
			t.Errorf("the gate of nobody's credential says %v, want it closed for %v", err, maxOutage)
		}
		if err := closed(g, at(g, "team-b/y", "u", false).gates()); err != nil {
			t.Errorf("with a credential: %v, want its gate open", err)
		}
	})
}

// An answer ends the row of repositories that limit their requests.
func TestLimitIsForgotten(t *testing.T) {
	g := newGates()
	for i := range 3 * outage.count {
		at(g, fmt.Sprintf("team-%d/x", i), "", false).judge(tooBusy())
		at(g, "team-b/x", "", false).judge(&requestError{status: 404})
	}
	if err := closed(g, at(g, "team-b/y", "", false).gates()); err != nil {
		t.Errorf("the gate of nobody's credential says %v, want it open", err)
	}
}

// lured is a host that routes by path. What begins with team-a names a token endpoint elsewhere,
// which limits requests; other repositories have a token endpoint on the host itself.
type lured struct{ asked []string }

func (w *lured) RoundTrip(r *http.Request) (*http.Response, error) {
	w.asked = append(w.asked, r.URL.Host+r.URL.Path)
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	switch {
	case r.URL.Host == "evil.example":
		resp.StatusCode = http.StatusTooManyRequests
		resp.Header.Set("Retry-After", "600")
	case r.URL.Path == "/token":
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"t"}`))
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		realm := "r.example"
		if strings.HasPrefix(r.URL.Path, "/v2/team-a/") {
			realm = "evil.example"
		}
		resp.Header.Set("WWW-Authenticate", `Bearer realm="https://`+realm+`/token"`)
	}
	return resp, nil
}

// A token endpoint that is not the registry's own closes nothing but the repositories that name it.
func TestForeignRealmLimits(t *testing.T) {
	c := &Client{}
	_ = c.Init()
	w := &lured{}
	c.over(w)
	for i := range 2 * outage.count {
		image := fmt.Sprint("r.example/team-a/", i, ":1")
		if _, err := c.Head(t.Context(), head(image, "a")); err == nil {
			t.Fatal("an answer")
		}
	}
	other := c.one(head("r.example/app:1", "b"))
	if err := closed(c.state.gates, other.gates()); err != nil {
		t.Errorf("another repository: %v, want its gates open", err)
	}
}

// A repository that names a token endpoint elsewhere leads no other one there.
func TestForeignRealmIsOfItsRepository(t *testing.T) {
	c := &Client{}
	_ = c.Init()
	w := &lured{}
	c.over(w)
	if _, err := c.Head(t.Context(), head("r.example/team-a/x:1", "a")); err == nil {
		t.Fatal("an answer")
	}
	w.asked = nil
	if _, err := c.Head(t.Context(), head("r.example/app:1", "b")); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(w.asked, "evil.example/token") {
		t.Errorf("asked %q, want nothing of another repository's token endpoint", w.asked)
	}
}
