// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// TestMemoryIsBounded checks that what is remembered of registries, credentials and repositories is
// bounded, however long the texts are: tenants choose the passwords, and registries that answer
// with long tokens and challenges.
func TestMemoryIsBounded(t *testing.T) {
	long := strings.Repeat("x", 48<<10)
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprintf(w, `{"token":%q,"expires_in":3600}`, long)
		case r.Header.Get("Authorization") == "":
			realm := "https://" + r.URL.Host + "/token"
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`",service="`+long+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}))
	before := heap()
	for i := range 400 {
		auth := authn.AuthConfig{Username: fmt.Sprint(i), Password: strings.Repeat("p", 64<<10)}
		req := head(fmt.Sprintf("r%d.example/a:1", i), fmt.Sprint(i))
		req.Credentials = []keychain.Credential{{Auth: auth}}
		if _, err := c.Head(t.Context(), req); err == nil {
			t.Fatal("Head = nil, want an error")
		}
	}
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d MiB are held of 400 registries and passwords, want at most 16", grown>>20)
	}
	runtime.KeepAlive(c)
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // no heap is that large
}

// TestNamedRegistryIsShared checks that a namespace that asks for many made-up repositories makes
// tagpin forget nothing that it has learned for other namespaces.
func TestNamedRegistryIsShared(t *testing.T) {
	var tokens atomic.Int64
	c := over(handler(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			tokens.Add(1)
		}
		withToken("https://"+r.URL.Host+"/token", nil)(w, r)
	}), Host{Name: "r.example", RequestsPerSecond: 1e6})
	ask := func(path, namespace string) {
		t.Helper()
		if _, err := c.Head(t.Context(), head("r.example/"+path+":1", namespace)); err != nil {
			t.Fatal(err)
		}
	}
	ask("app", "modest")
	c.one(head("r.example/wrong:1", "modest")).judge(refusal())
	for i := range 2 * maxTokens {
		ask(fmt.Sprint("flood/", i), "flood")
	}
	for i := range 2 * maxGates {
		c.one(head(fmt.Sprint("r.example/flood/", i, ":1"), "flood")).judge(refusal())
	}
	before := tokens.Load()
	if ask("app", "modest"); tokens.Load() != before {
		t.Error("the token of another namespace is forgotten")
	}
	c.check(t, "r.example/wrong:1", "modest", false)
}

// TestLearnedBySeveral checks that what several namespaces have learned belongs to the first.
func TestLearnedBySeveral(t *testing.T) {
	m := &memory[string, int]{}
	for _, tt := range []struct{ namespace, owner string }{
		{"a", "a"}, {"a", "a"}, {"b", "a"}, {"a", "a"}, {"b", "a"},
	} {
		m.Put("k", 1, tt.namespace, time.Minute)
		if v, _ := m.Memory.Get("k"); v.owner != tt.owner {
			t.Errorf("learned by %s, the owner is %q, want %q", tt.namespace, v.owner, tt.owner)
		}
	}
}

// TestRememberedRealmDecidesNothing checks that the registry is asked for its token endpoint again,
// however the remembered one fails.
func TestRememberedRealmDecidesNothing(t *testing.T) {
	status := func(code int) handler {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for name, old := range map[string]handler{
		"400": status(400), "401": status(401), "403": status(403), "404": status(404),
		"429": status(429), "500": status(500), "503": status(503), "no token": status(200),
		"no answer": func(http.ResponseWriter, *http.Request) { panic(errReset) },
		"hangs":     func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moved := false
				c := over(handler(func(w http.ResponseWriter, r *http.Request) {
					switch {
					case !moved:
						withToken("https://r.example/token", nil)(w, r)
					case r.URL.Path == "/token":
						old(w, r)
					case r.URL.Path == "/new":
						_, _ = w.Write([]byte(`{"token":"t"}`))
					default:
						withToken("https://r.example/new", nil)(w, r)
					}
				}))
				if _, err := c.Head(t.Context(), head("r.example/a:1", "a")); err != nil {
					t.Fatal(err)
				}
				moved = true
				if _, err := c.Head(t.Context(), head("r.example/b:1", "b")); err != nil {
					t.Errorf("Head = %v, want an answer", err)
				}
				c.Learned.Close()
			})
		})
	}
}

// TestLearnedOutlivesAClient checks that the next client knows what one has learned, unless the
// settings of the registry have changed.
func TestLearnedOutlivesAClient(t *testing.T) {
	host := Host{Name: "r.example", AuthHosts: []string{"auth.example"}}
	first := &Client{Learned: &Learned{}, Hosts: []Host{host}}
	e := &requestError{host: "r.example", evidence: network.NotConnected}
	first.one(head("r.example/a:1", "a")).judge(e)
	host.MaxInFlight, host.Timeout = 3, time.Minute
	same := &Client{Learned: first.Learned, Hosts: []Host{host}}
	same.check(t, "r.example/b:1", "b", false)
	host.AuthHosts = append(host.AuthHosts, "more.example")
	changed := &Client{Learned: first.Learned, Hosts: []Host{host}}
	changed.check(t, "r.example/b:1", "b", true)
}
