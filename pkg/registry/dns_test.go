// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// lookedUp returns a context that records the names that the resolver is asked for.
func lookedUp(ctx context.Context) (_ context.Context, names func() []string) {
	var mu sync.Mutex
	var asked []string
	trace := &httptrace.ClientTrace{DNSStart: func(info httptrace.DNSStartInfo) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, info.Host)
	}}
	return httptrace.WithClientTrace(ctx, trace), func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(asked)
		return slices.Compact(asked)
	}
}

// plainClient returns a client that asks the hosts without TLS and may dial loopback.
func plainClient(t *testing.T, names map[string][]string, hosts ...string) *registry.Client {
	t.Helper()
	c := &registry.Client{Network: network.Network{
		Rules:    registry.Loopback.Rules,
		Resolver: nameserver(t, names),
		Proxy:    func(*http.Request) (*url.URL, error) { return nil, nil },
	}}
	for _, host := range hosts {
		c.Hosts = append(c.Hosts, registry.Host{Name: host, Insecure: true})
	}
	t.Cleanup(c.Close)
	return c
}

func head(ctx context.Context, c *registry.Client, image string) error {
	_, err := c.Head(ctx, registry.Request{Ref: ref.MustParse(image)})
	return err
}

// TestAbsoluteNames checks the name that each kind of connection asks the resolver for. A name with
// a dot must be absolute: through a pod's search list, registry.internal is also the Service
// "registry" in the namespace "internal". The registry itself must not see the trailing dot.
func TestAbsoluteNames(t *testing.T) {
	var port string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if strings.HasSuffix(host, ".") && host != "dotted.internal." {
			t.Errorf("Host is %q, want it without the dot that is for DNS", r.Host)
		}
		switch {
		case r.URL.Path == "/token":
			_, _ = fmt.Fprint(w, `{"token":"t"}`)
		case host == "realm.internal" && r.Header.Get("Authorization") == "":
			challenge := fmt.Sprintf(`Bearer realm="http://token.internal:%s/token"`, port)
			w.Header().Set("WWW-Authenticate", challenge)
			w.WriteHeader(http.StatusUnauthorized)
		case host == "redirect.internal":
			http.Redirect(w, r, fmt.Sprintf("https://target.internal:%s/", port), http.StatusFound)
		default:
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		}
	}))
	defer s.Close()
	_, port, _ = strings.Cut(strings.TrimPrefix(s.URL, "http://"), ":")
	here := []string{"127.0.0.1"}
	names := map[string][]string{
		"registry.internal": here, "realm.internal": here, "token.internal": here,
		"redirect.internal": here, "target.internal": here, "proxy.internal": here, "plain": here,
	}
	for _, tt := range []struct {
		name, host, proxy string
		want              []string
		fails             bool
	}{
		{"registry", "registry.internal", "", []string{"registry.internal."}, false},
		{"token realm", "realm.internal", "", []string{"realm.internal.", "token.internal."}, false},
		{
			"redirect, which must be over TLS", "redirect.internal", "",
			[]string{"redirect.internal.", "target.internal."},
			true,
		},
		{"no dot", "plain", "", []string{"plain"}, false},
		{"IPv4 address", "127.0.0.1", "", nil, false},
		{
			"proxy, and what it is to connect to", "registry.internal", "proxy.internal",
			[]string{"proxy.internal.", "registry.internal."},
			false,
		},
		{"proxy without a dot", "registry.internal", "plain", []string{"plain", "registry.internal."}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := tt.host + ":" + port
			c := plainClient(t, names, host, "token.internal:"+port)
			if tt.proxy != "" {
				c.Network.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: tt.proxy + ":" + port})
			}
			ctx, asked := lookedUp(t.Context())
			if err := head(ctx, c, host+"/a:1"); (err != nil) != tt.fails {
				t.Errorf("Head = %v, want an error: %t", err, tt.fails)
			}
			if got := asked(); !slices.Equal(got, tt.want) {
				t.Errorf("names looked up = %q, want %q", got, tt.want)
			}
		})
	}
}
