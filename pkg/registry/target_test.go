// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"net/http"
	"slices"
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
		{Name: "docker.io", MaxInFlight: 2},
	}}
	for name, want := range map[string]bool{
		"mixed.example:80": true, "mixed.example:080": true,
		"mixed.example": false, "mixed.example:443": false,
		"plain.example": true, "plain.example:80": true, "plain.example:443": false,
	} {
		if got := c.Host(name).Insecure; got != want {
			t.Errorf("Host(%s).Insecure = %t, want %t", name, got, want)
		}
	}
	h := c.Host("R.example:05000")
	if h.MaxInFlight != 1 || !h.Verify || h.Name != "R.example:05000" {
		t.Errorf("Host(R.example:05000) = %+v, want the settings of r.example:5000", h)
	}
	if got := c.Host("registry-1.docker.io").MaxInFlight; got != 2 {
		t.Errorf("Host(registry-1.docker.io).MaxInFlight = %d, want that of docker.io, 2", got)
	}
	for _, tt := range []struct {
		one, other string
		same       bool
	}{
		{"docker.io", "registry-1.docker.io:443", true},
		{"r.example:5000", "R.example:05000", true},
		{"plain.example", "plain.example:080", true},
		{"plain.example", "plain.example:443", false},
		{"other.example", "other.example:443", true},
		{"other.example", "other.example:80", false},
	} {
		a, b := c.one(head(tt.one+"/b/a:1", "a")), c.one(head(tt.other+"/b/a:1", "a"))
		if slices.Equal(a.gates(), b.gates()) != tt.same || (a.origin() == b.origin()) != tt.same {
			t.Errorf("%s and %s: %q and %q, want one registry: %t",
				tt.one, tt.other, a.origin(), b.origin(), tt.same)
		}
	}
}

// TestNames checks that a host is named by another spelling too, but not by its address alone.
func TestNames(t *testing.T) {
	c := &Client{
		Hosts: []Host{
			{Name: "*", MaxInFlight: 1},
			{Name: "plain.example", Insecure: true},
			{Name: "mixed.example:80", Insecure: true},
		},
		Lenient: Lenient{Hosts: []string{"localhost:5000"}},
	}
	for name, want := range map[string]bool{
		"plain.example": true, "Plain.example:080": true, "plain.example:443": false,
		"mixed.example:80": true, "mixed.example": false,
		"localhost:5000": true, "LOCALHOST:05000": true, "localhost": false, "127.0.0.1:5000": false,
		"other.example": false,
	} {
		if got := c.Names(name); got != want {
			t.Errorf("Names(%s) = %t, want %t", name, got, want)
		}
	}
}

// TestRequestsHaveOneSpelling checks that all requests to a registry have the canonical host,
// because NO_PROXY and a host that routes by name may distinguish two spellings. The registry wants
// a token of its own realm, which it spells in another way, and then redirects to itself.
func TestRequestsHaveOneSpelling(t *testing.T) {
	for _, tt := range []struct {
		image, own string
		insecure   bool
		want       string
	}{
		{"R.example:0443/a:1", "https://R.Example:0443", false, "https://r.example r.example"},
		{"r.example:0080/a:1", "http://R.Example:080", true, "http://r.example r.example"},
	} {
		asked := map[string]bool{}
		answer := withToken(tt.own+"/token", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, tt.own+"/there", http.StatusTemporaryRedirect)
		})
		record := func(w http.ResponseWriter, r *http.Request) {
			asked[r.URL.Scheme+"://"+r.URL.Host+" "+cmp.Or(r.Host, r.URL.Host)] = true
			if r.URL.Path != "/there" {
				answer(w, r)
			}
		}
		c := over(handler(record), Host{Name: "r.example", Insecure: tt.insecure})
		req := head(tt.image, "a")
		auth := authn.AuthConfig{Username: "u", Password: "canary"}
		req.Credentials = []keychain.Credential{{Auth: auth}}
		if _, err := c.Head(t.Context(), req); err != nil {
			t.Errorf("%s: %v", tt.image, err)
		}
		if len(asked) != 1 || !asked[tt.want] {
			t.Errorf("hosts of the requests for %s = %v, want only %s", tt.image, asked, tt.want)
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
