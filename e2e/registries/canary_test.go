// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	e2eregistry "github.com/tagpin/tagpin/e2e/registry"
)

// canaries are the secrets of all registries, and what tagpin has shown to each registry.
type canaries struct {
	mu         sync.Mutex
	registries int
	owners     map[string]string           // by host: its registry
	secrets    map[string]string           // by password or token: the registry that it is for
	requests   map[string]*strings.Builder // by registry: the requests that its hosts have got
}

func newCanaries() *canaries {
	return &canaries{
		owners: map[string]string{}, secrets: map[string]string{},
		requests: map[string]*strings.Builder{},
	}
}

// newRegistry returns a name and a password that no other registry has. No other password contains
// this one.
func (c *canaries) newRegistry() (name, password string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.registries++
	name = fmt.Sprintf("registry %d", c.registries)
	password = fmt.Sprintf("%s-%d;", e2eregistry.Password, c.registries)
	c.secrets[password] = name
	return name, password
}

// belongs says which registry a host is of. The registry, its realm and the fronts before it are
// hosts of one registry. A later registry may get the port of one that has ended.
func (c *canaries) belongs(host, registry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.owners[host] = registry
}

// secret says which registry may see a password or a token.
func (c *canaries) secret(text, registry string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[text] = registry
}

// shown records a request. If its token is not known yet, it is one that the registry has issued.
func (c *canaries) shown(r *http.Request) {
	host := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
	_, password, _ := r.BasicAuth()
	token, isToken := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c.mu.Lock()
	defer c.mu.Unlock()
	registry := c.owners[host]
	if isToken && c.secrets[token] == "" {
		c.secrets[token] = registry
	}
	if c.requests[registry] == nil {
		c.requests[registry] = &strings.Builder{}
	}
	fmt.Fprintln(c.requests[registry], r.URL, r.Header, password)
}

// leaks returns an error for each secret that another registry has seen.
func (c *canaries) leaks() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for registry, requests := range c.requests {
		text := requests.String()
		for secret, owner := range c.secrets {
			if owner != registry && strings.Contains(text, secret) {
				errs = append(errs, fmt.Errorf("a secret of %s was shown to %s", owner, registry))
			}
		}
	}
	return errors.Join(errs...)
}

// TestCanaries checks that a leak is found, whether it is a password or a token.
func TestCanaries(t *testing.T) {
	c := newCanaries()
	servers := map[string]*httptest.Server{}
	one, password := c.newRegistry()
	two, _ := c.newRegistry()
	for _, name := range []string{one, two} {
		servers[name] = newServer(t, nil, http.HandlerFunc(
			func(_ http.ResponseWriter, r *http.Request) { c.shown(r) },
		))
		c.belongs(servers[name].Listener.Addr().String(), name)
	}
	send := func(to, authorization string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, servers[to].URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", authorization)
		answer, err := servers[to].Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	login := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:"+password))
	send(one, login)
	send(one, "Bearer abc")
	if err := c.leaks(); err != nil {
		t.Errorf("before the leaks: %v", err)
	}
	for want, authorization := range []string{login, "Bearer abc"} {
		send(two, authorization)
		if got := strings.Count(fmt.Sprint(c.leaks()), "shown to"); got != want+1 {
			t.Errorf("%d leaks, want %d: %v", got, want+1, c.leaks())
		}
	}
}
