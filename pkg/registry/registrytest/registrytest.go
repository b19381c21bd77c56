// SPDX-License-Identifier: Apache-2.0

// Package registrytest has registries that behave oddly or do harm on purpose. Their behaviour is a
// list of rules:
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
// A World has three hosts, all with TLS on loopback. It records every request for a manifest or a
// token, and its user. All credentials contain a canary. A request that sends it to Other fails the
// test, unless the test takes it from Leaks. The blobs of Image are open to everybody, so that a
// node can pull it.
//
// Cases has the cases that are tested with tagpin, and compared with what a node does.
package registrytest

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/registry"
)

// The hosts of a World.
const (
	Registry = "registry"
	Realm    = "realm" // a token endpoint that is not the registry's own host
	Other    = "other" // a host that must not get a credential
)

// Canary is a part of every credential.
const Canary = "canary-3b1f"

// Credential returns the password of a user.
func Credential(user string) authn.AuthConfig {
	return authn.AuthConfig{Username: user, Password: Canary + "-password"}
}

// Identity returns the identity token of a user.
func Identity(user string) authn.AuthConfig {
	return authn.AuthConfig{IdentityToken: Canary + "-identity-of-" + user}
}

// Rules are the answers of each host. The first rule that fits a request applies. If none does, the
// answer is 404.
type Rules map[string][]Rule

// Rule is an answer to some requests.
type Rule struct {
	// On is a repository with or without a method, "HEAD app" or "app", with or without a tag or
	// digest, "app:1", or the path of a token endpoint, which ends in "token", or "/v2/". If empty, it
	// is any request.
	On string
	// As is the user of the request: "nobody" if it has no credential, "public" if it has a token
	// that was given without one. If empty, it is any user.
	As   string
	Then Answer
}

// World has some hosts. Its methods are safe for concurrent use.
type World struct {
	t       testing.TB
	servers map[string]*httptest.Server
	pool    *x509.CertPool
	over    chan struct{} // closed when the test ends, so that hanging requests end
	written atomic.Int64

	mu       sync.Mutex
	rules    Rules
	requests []string
	leaks    []string
}

// Start starts the hosts. They end with the test.
func Start(t testing.TB, rules Rules) *World {
	w := &World{
		t: t, rules: rules, servers: map[string]*httptest.Server{},
		pool: x509.NewCertPool(), over: make(chan struct{}),
	}
	for _, name := range []string{Registry, Realm, Other} {
		serve := func(rw http.ResponseWriter, r *http.Request) { w.serve(name, rw, r) }
		s := httptest.NewUnstartedServer(http.HandlerFunc(serve))
		s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients close connections
		s.StartTLS()
		t.Cleanup(s.Close)
		w.servers[name] = s
		w.pool.AddCert(s.Certificate())
	}
	t.Cleanup(func() {
		close(w.over)
		for _, leak := range w.Leaks() {
			t.Error(leak)
		}
	})
	return w
}

// Host returns the address of a host, as references have it.
func (w *World) Host(name string) string {
	return strings.TrimPrefix(w.servers[name].URL, "https://")
}

// Client returns a client that trusts the hosts and may only dial 127.0.0.1. It ends with the test.
func (w *World) Client(hosts ...registry.Host) *registry.Client {
	c := &registry.Client{Hosts: hosts}
	c.Network.Roots = w.pool
	c.Network.Rules.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	w.t.Cleanup(c.Close)
	return c
}

// Change replaces the rules.
func (w *World) Change(rules Rules) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rules = rules
}

// Requests returns the requests since the last call, such as "HEAD app:1 Basic user". The name of a
// host other than Registry is before it: "other: HEAD app:1".
func (w *World) Requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	requests := w.requests
	w.requests = nil
	return requests
}

// CredentialLeak is what Leaks returns for a request with a credential.
const CredentialLeak = "a credential was sent to another host"

// Leaks returns what was sent to Other since the last call and must not be sent there.
func (w *World) Leaks() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	leaks := w.leaks
	w.leaks = nil
	return leaks
}

// Certificate returns the CA certificate of all hosts.
func (w *World) Certificate() *x509.Certificate { return w.servers[Registry].Certificate() }

// Written returns how many bytes of bodies the hosts could write: those that were read, and those
// in buffers.
func (w *World) Written() int64 { return w.written.Load() }

// Expand replaces {registry}, {realm} and {other} by the hosts' addresses, and {port} by the
// registry's port.
func (w *World) Expand(text string) string {
	_, port, _ := strings.Cut(w.Host(Registry), ":")
	text = strings.ReplaceAll(text, "{port}", port)
	for name := range w.servers {
		text = strings.ReplaceAll(text, "{"+name+"}", w.Host(name))
	}
	return text
}

func (w *World) serve(host string, rw http.ResponseWriter, r *http.Request) {
	if host == Other {
		w.watch(r)
	}
	if _, blob, ok := strings.Cut(r.URL.Path, "/blobs/"); ok {
		_, _ = io.WriteString(rw, blobs[blob]) // an empty one is not what the client wants
		return
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
	_, what, _ := strings.Cut(on, " ")
	asked, _, _ := strings.Cut(on, ":")
	repository, _, _ := strings.Cut(what, ":")
	fits := []string{"", on, what, asked, repository}
	for _, rule := range w.rules[host] {
		if slices.Contains(fits, rule.On) && (rule.As == "" || rule.As == who) {
			return rule
		}
	}
	return Rule{Then: Answer{Status: http.StatusNotFound}}
}

// watch records what a request of Other should not have.
func (w *World) watch(r *http.Request) {
	_ = r.ParseForm() // a part of it, if it is broken
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(r.Header.Values("Authorization")) > 0 ||
		strings.Contains(fmt.Sprint(r.URL, r.Header, r.Form), Canary) {
		w.leaks = append(w.leaks, CredentialLeak)
	}
	if r.Referer() != "" {
		w.leaks = append(w.leaks, "the address of a request was sent to another host")
	}
}
