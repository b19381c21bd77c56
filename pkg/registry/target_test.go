// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
)

// TestSpellingsAreOneRegistry checks that another spelling of a registry's host has the same
// settings, bounds and gates.
func TestSpellingsAreOneRegistry(t *testing.T) {
	c := &Client{Hosts: []Host{
		{Name: "r.example:5000", MaxInFlight: 1, Verify: true},
		{Name: "plain.example", Insecure: true},
		{Name: "mixed.example:80", Insecure: true},
	}}
	for name, want := range map[string]bool{
		"mixed.example:80": true, "mixed.example:080": true,
		"mixed.example": false, "mixed.example:443": false,
		"plain.example": true, "plain.example:80": true, "plain.example:443": false,
	} {
		if got := c.Host(name).Insecure; got != want {
			t.Errorf("%s is asked without TLS: %t, want %t", name, got, want)
		}
	}
	h := c.Host("R.example:05000")
	if h.MaxInFlight != 1 || !h.Verify || h.Name != "R.example:05000" {
		t.Errorf("another spelling of a named host has %+v", h)
	}
	for _, tt := range []struct {
		one, other string
		same       bool
	}{
		{"r.example:5000", "R.example:05000", true},
		{"plain.example", "plain.example:080", true},
		{"plain.example", "plain.example:443", false},
		{"other.example", "other.example:443", true},
		{"other.example", "other.example:80", false},
	} {
		a, b := c.one(head(tt.one+"/a:1", "a")), c.one(head(tt.other+"/a:1", "a"))
		if slices.Equal(a.gates(), b.gates()) != tt.same || (a.origin() == b.origin()) != tt.same {
			t.Errorf("%s and %s: %q and %q, want one registry: %t",
				tt.one, tt.other, a.origin(), b.origin(), tt.same)
		}
	}
}

// hosts is a registry that records the hosts in URLs and headers of its requests. It wants a token
// of its own realm, which it spells in another way, and then redirects to itself.
type hosts struct{ asked map[string]bool }

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked[r.URL.Scheme+"://"+r.URL.Host+" "+cmp.Or(r.Host, r.URL.Host)] = true
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	own := r.URL.Scheme + "://R.Example:0" + map[string]string{"http": "80", "https": "443"}[r.URL.Scheme]
	switch {
	case r.URL.Path == "/token":
		resp.Body = io.NopCloser(strings.NewReader(`{"token":"t"}`))
	case r.URL.Path == "/there":
	case r.Header.Get("Authorization") == "":
		resp.StatusCode = http.StatusUnauthorized
		resp.Header.Set("WWW-Authenticate", `Bearer realm="`+own+`/token"`)
	default:
		resp.StatusCode = http.StatusTemporaryRedirect
		resp.Header.Set("Location", own+"/there")
	}
	return resp, nil
}

// TestRequestsHaveOneSpelling checks that all requests to a registry have the canonical host,
// because NO_PROXY and a host that routes by name may distinguish two spellings.
func TestRequestsHaveOneSpelling(t *testing.T) {
	for _, tt := range []struct {
		image    string
		insecure bool
		want     string
	}{
		{"R.example:0443/a:1", false, "https://r.example r.example"},
		{"r.example:0080/a:1", true, "http://r.example r.example"},
	} {
		h := &hosts{asked: map[string]bool{}}
		c := &Client{Hosts: []Host{{Name: "r.example", Insecure: tt.insecure}}}
		c.over(h)
		req := head(tt.image, "a")
		req.Credentials = []keychain.Credential{{Auth: authn.AuthConfig{Username: "u", Password: "canary"}}}
		if _, err := c.Head(t.Context(), req); err != nil {
			t.Errorf("%s: %v", tt.image, err)
		}
		if len(h.asked) != 1 || !h.asked[tt.want] {
			t.Errorf("%s was asked for as %v, want %s alone", tt.image, h.asked, tt.want)
		}
	}
}

// TestLabel checks that a named registry has one label in metrics, however a tenant spells it.
func TestLabel(t *testing.T) {
	c := &Client{Hosts: []Host{{Name: "r.example:5000"}}}
	for name, want := range map[string]string{
		"r.example:5000": "r.example:5000", "R.example:5000": "r.example:5000",
		"r.example:05000": "r.example:5000", "r.example": "",
	} {
		if got := c.Label(name); got != want {
			t.Errorf("Label(%s) = %q, want %q", name, got, want)
		}
	}
}
