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
)

func TestSpelling(t *testing.T) {
	for text, want := range map[string]struct{ https, http string }{
		"r.example":             {"r.example", "r.example"},
		"R.Example":             {"r.example", "r.example"},
		"localhost":             {"localhost", "localhost"},
		"r.example:443":         {"r.example", "r.example:443"},
		"r.example:0443":        {"r.example", "r.example:443"},
		"r.example:80":          {"r.example:80", "r.example"},
		"r.example:0080":        {"r.example:80", "r.example"},
		"r.example:05000":       {"r.example:5000", "r.example:5000"},
		"r.example:00":          {"r.example:0", "r.example:0"},
		"10.0.0.1:443":          {"10.0.0.1", "10.0.0.1:443"},
		"[::1]":                 {"[::1]", "[::1]"},
		"[::1]:0443":            {"[::1]", "[::1]:443"},
		"[0:0:0:0:0:0:0:1]:443": {"[::1]", "[::1]:443"},
		"[2001:DB8::0001]:5000": {"[2001:db8::1]:5000", "[2001:db8::1]:5000"},
		"[::ffff:a00:1]":        {"10.0.0.1", "10.0.0.1"},
	} {
		if got := spelling(text, false); got != want.https {
			t.Errorf("spelling(%s) = %s, want %s", text, got, want.https)
		}
		if got := spelling(text, true); got != want.http {
			t.Errorf("spelling(%s), insecure = %s, want %s", text, got, want.http)
		}
	}
}

// Another spelling of a registry's host is the same registry: its queue, its gates, its settings.
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
		a, b := c.lookup(head(tt.one+"/a:1", "a")), c.lookup(head(tt.other+"/a:1", "a"))
		if slices.Equal(a.gates(), b.gates()) != tt.same || (a.origin == b.origin) != tt.same {
			t.Errorf("%s and %s: %q and %q, want one registry: %t",
				tt.one, tt.other, a.origin, b.origin, tt.same)
		}
	}
}

// hosts is a registry that notes which hosts it is asked as, in the URL and in the header. It wants
// a token of its own realm, which it spells in another way, and then redirects to itself.
type hosts struct{ asked map[string]bool }

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.asked[r.URL.Scheme+"://"+r.URL.Host+" "+cmp.Or(r.Host, r.URL.Host)] = true
	resp := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r,
	}
	own := r.URL.Scheme + "://R.Example:0" + defaultPort(r.URL.Scheme == "http")
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

// A registry is asked in the one spelling by which its gates are known, whoever spells it: NO_PROXY
// and a host that routes by name may tell two spellings apart.
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
		_ = c.Init()
		c.state.shared = h
		req := head(tt.image, "a")
		req.Auth = authn.AuthConfig{Username: "u", Password: "canary"}
		if _, err := c.Manifest(t.Context(), req); err != nil {
			t.Errorf("%s: %v", tt.image, err)
		}
		if len(h.asked) != 1 || !h.asked[tt.want] {
			t.Errorf("%s was asked for as %v, want %s alone", tt.image, h.asked, tt.want)
		}
	}
}

// A named registry has one label in metrics, however a tenant spells it.
func TestSpellingsHaveOneLabel(t *testing.T) {
	c := &Client{Hosts: []Host{{Name: "r.example:5000"}}}
	_ = c.Init()
	for name, want := range map[string]string{
		"r.example:5000": "r.example:5000", "R.example:5000": "r.example:5000",
		"r.example:05000": "r.example:5000", "r.example": otherRegistry,
	} {
		if got := c.lookup(head(name+"/a:1", "a")).label(); got != want {
			t.Errorf("the label of %s is %s, want %s", name, got, want)
		}
	}
}
