// SPDX-License-Identifier: Apache-2.0

// Package registrytest is registries that behave oddly, or with intent to harm, each behaviour a row of rules:
//
//	w := registrytest.Start(t, registrytest.Rules{
//		registrytest.Registry: {
//			{On: "HEAD app", Then: registrytest.Answer{Status: 405}},
//			{On: "GET app", Then: registrytest.Image},
//		},
//	})
//	… resolve w.Host(registrytest.Registry) + "/app:1" …
//	w.Requests() // HEAD app:1, GET app:1
//
// A world has three hosts, all over TLS on loopback. It notes every request, with who it came from. All credentials hold
// one canary: a request that shows it to Other, whom no rule entitles to it, fails the test.
package registrytest

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// The hosts of a world.
const (
	Registry = "registry"
	Realm    = "realm" // a token endpoint that is not the registry's own host
	Other    = "other" // somebody else
)

// Canary stands in every credential.
const Canary = "canary-3b1f"

// Credential is a user's password.
func Credential(user string) authn.AuthConfig {
	return authn.AuthConfig{Username: user, Password: Canary + "-password"}
}

// Identity is a user's identity token.
func Identity(user string) authn.AuthConfig {
	return authn.AuthConfig{IdentityToken: Canary + "-identity-of-" + user}
}

// Rules are what the hosts answer: the first one that fits a request. What none fits is 404.
type Rules map[string][]Rule

// Rule is an answer to a kind of request.
type Rule struct {
	// On is a method, if it matters, and a repository: "HEAD app", "app"; or the path of a token endpoint, which ends in
	// token. Empty: anything.
	On string
	// As is the user who asks; "nobody" is who shows nothing, "public" who shows a token that nobody asked for. Empty:
	// whoever it is.
	As   string
	Then Answer
}

// World is some hosts. Its methods are safe for concurrent use.
type World struct {
	t       testing.TB
	servers map[string]*httptest.Server
	pool    *x509.CertPool
	over    chan struct{} // closed when the test ends: what hangs lets go
	written atomic.Int64

	mu       sync.Mutex
	rules    Rules
	requests []string
}

// Start starts the hosts; the end of the test ends them.
func Start(t testing.TB, rules Rules) *World {
	w := &World{t: t, rules: rules, servers: map[string]*httptest.Server{}, pool: x509.NewCertPool(), over: make(chan struct{})}
	for _, name := range []string{Registry, Realm, Other} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.serve(name, rw, r) }))
		s.Config.ErrorLog = nowhere // a client that hangs up is no news
		s.StartTLS()
		t.Cleanup(s.Close)
		w.servers[name] = s
		w.pool.AddCert(s.Certificate())
	}
	t.Cleanup(func() { close(w.over) })
	return w
}

// Host is the address of a host, as it stands in references.
func (w *World) Host(name string) string {
	return strings.TrimPrefix(w.servers[name].URL, "https://")
}

// Client trusts the hosts, and may dial 127.0.0.1 alone. The test ends it.
func (w *World) Client(hosts ...registry.Host) *registry.Client {
	c := &registry.Client{
		Hosts: hosts, RootCAs: w.pool, Network: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}
	w.t.Cleanup(c.Close)
	return c
}

// Change gives the hosts other rules from now on.
func (w *World) Change(rules Rules) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules = rules
}

// Requests are those since the last call, as "HEAD app:1", with what was shown of whom ("Basic user", "Bearer user"), and
// with the host before it where that is not Registry.
func (w *World) Requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests := w.requests
	w.requests = nil
	return requests
}

// Written is how many bytes of bodies the hosts could write, which is what was read and what buffers hold.
func (w *World) Written() int64 { return w.written.Load() }

// Expand puts the hosts' addresses in the place of {registry}, {realm} and {other}.
func (w *World) Expand(text string) string {
	for name := range w.servers {
		text = strings.ReplaceAll(text, "{"+name+"}", w.Host(name))
	}
	return text
}

func (w *World) serve(host string, rw http.ResponseWriter, r *http.Request) {
	if host == Other {
		w.betrayed(r)
	}
	on, shown, who := describe(r)
	w.mu.Lock()
	prefix := ""
	if host != Registry {
		prefix = host + ": "
	}
	w.requests = append(w.requests, strings.TrimSpace(prefix+on+" "+shown))
	rule := w.findLocked(host, on, who)
	w.mu.Unlock()
	rule.Then.write(w, rw, r, who)
}

func (w *World) findLocked(host, on, who string) Rule {
	for _, rule := range w.rules[host] {
		method, what, both := strings.Cut(rule.On, " ")
		if !both {
			method, what = "", rule.On
		}
		asked, rest, _ := strings.Cut(on, " ")
		repository, _, _ := strings.Cut(rest, ":")
		if (method == "" || method == asked) && (what == "" || what == repository) && (rule.As == "" || rule.As == who) {
			return rule
		}
	}
	return Rule{Then: Answer{Status: http.StatusNotFound}}
}

// betrayed fails the test where a request shows a secret.
func (w *World) betrayed(r *http.Request) {
	text := fmt.Sprint(r.URL, r.Header)
	for _, header := range r.Header.Values("Authorization") {
		text += header
	}
	if user, password, ok := r.BasicAuth(); ok {
		text += user + password
	}
	if strings.Contains(text, Canary) || r.Header.Get("Authorization") != "" {
		w.t.Errorf("a credential was sent to another host: %s %s", r.Method, r.URL)
	}
}
