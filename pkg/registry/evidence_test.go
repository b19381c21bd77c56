// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestNoEvidence checks that failures that are not the network's close no gate.
func TestNoEvidence(t *testing.T) {
	bearer := func(realm string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				_, _ = fmt.Fprint(w, `{"token":"a\u0001b"}`)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+strings.ReplaceAll(realm, "{host}", r.Host)+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
	nothing := func(*registry.Client) {}
	for name, tt := range map[string]struct {
		serve http.HandlerFunc
		setUp func(*registry.Client)
		auth  authn.AuthConfig
		says  string
	}{
		"a registry token with a line break": {
			bearer("http://{host}/token"), nothing, authn.AuthConfig{RegistryToken: "x\ny"}, "no header can",
		},
		"an encoded login with a line break": {
			bearer("http://{host}/token"), nothing, authn.AuthConfig{Auth: "x\ny"}, "no header can",
		},
		"a token with a control character": {
			bearer("http://{host}/token"), nothing, authn.AuthConfig{}, "gave no token",
		},
		"a realm that is no address": {
			bearer("http://{host}/%zz"), nothing, authn.AuthConfig{}, "no valid address",
		},
		"a user agent that can't be sent": {
			func(http.ResponseWriter, *http.Request) {}, func(c *registry.Client) { c.UserAgent = "a\nb" },
			authn.AuthConfig{},
			"could not be sent",
		},
		"a proxy that can't be read": {
			func(http.ResponseWriter, *http.Request) {}, func(c *registry.Client) {
				c.Network.Proxy = func(*http.Request) (*url.URL, error) { return nil, errors.New("bad proxy") }
			}, authn.AuthConfig{}, "could not be sent",
		},
	} {
		t.Run(name, func(t *testing.T) {
			host, c := plain(t, tt.serve)
			tt.setUp(c)
			req := registry.Request{Ref: ref.MustParse(host + "/a:1"), Credentials: []keychain.Credential{{Auth: tt.auth}}}
			for i := range 2 {
				_, err := c.Head(t.Context(), req)
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "not asked again") {
					t.Errorf("Head, %d: %v, want %q, and nothing that is remembered of it", i, err, tt.says)
				}
			}
		})
	}
}

// TestMalformedCredential checks that a credential that no header can contain does not keep another
// namespace from the registry.
func TestMalformedCredential(t *testing.T) {
	host, c := plain(t, func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "b" {
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	ask := func(auth authn.AuthConfig) error {
		_, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1"), Credentials: []keychain.Credential{{Auth: auth}}})
		return err
	}
	if err := ask(authn.AuthConfig{Auth: "x\ny"}); err == nil {
		t.Error("Head with a malformed credential = nil, want an error")
	}
	if err := ask(authn.AuthConfig{Username: "b", Password: "p"}); err != nil {
		t.Errorf("Head of another namespace = %v, want an answer", err)
	}
}

// TestCallersBudgetIsNoEvidence checks that the end of the caller's time closes no gate.
func TestCallersBudgetIsNoEvidence(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	host, c := plain(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	})
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		err := head(ctx, c, host+"/a:1")
		cancel()
		if err == nil || strings.Contains(err.Error(), "not asked again") {
			t.Errorf("Head = %v, want an error of this request", err)
		}
	}
}

// TestFailedConnectionIsEvidence checks that a failed connection closes a gate, also if a proxy or
// a refused address is the cause. A tenant must not learn from a gate which it was.
func TestFailedConnectionIsEvidence(t *testing.T) {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	for name, tt := range map[string]struct{ image, proxy string }{
		"nothing listens":               {"127.0.0.1:1/a:1", ""},
		"refused address":               {"127.0.0.2:1/a:1", ""},
		"no such name":                  {"none.example/a:1", ""},
		"refused address, by a proxy":   {"127.0.0.2:1/a:1", "127.0.0.1:1"},
		"no such name, by a proxy":      {"none.example/a:1", "127.0.0.1:1"},
		"a proxy where nothing listens": {"127.0.0.1:2/a:1", "127.0.0.1:1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := plainClient(t, nil)
			c.Network.Rules.Allow = loopback
			if tt.proxy != "" {
				c.Network.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: tt.proxy})
			}
			if err := head(t.Context(), c, tt.image); err == nil {
				t.Error("Head = nil, want an error")
			}
			if err := head(t.Context(), c, tt.image); err == nil || !strings.Contains(err.Error(), " a moment ago; not asked again") {
				t.Errorf("Head, again: %v, want its gate closed", err)
			}
		})
	}
}
