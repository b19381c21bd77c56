// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// plain serves h without TLS, and returns a client that names the server.
func plain(t *testing.T, h http.HandlerFunc) (string, *registry.Client) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	host := strings.TrimPrefix(s.URL, "http://")
	c := &registry.Client{
		Network: registry.Loopback,
		Hosts:   []registry.Host{{Name: host, Insecure: true}},
	}
	t.Cleanup(c.Close)
	return host, c
}

// TestMetrics checks the labels and values of all metrics.
func TestMetrics(t *testing.T) {
	host, c := plain(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("RateLimit-Remaining", "76;w=21600")
		if r.Header.Get("Authorization") != "" { // a namespace's own account
			w.Header().Set("RateLimit-Remaining", "3;w=21600")
			return
		}
		switch r.URL.Path {
		case "/v2/own/manifests/1":
			w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
			w.WriteHeader(http.StatusUnauthorized)
		case "/v2/busy/manifests/1":
			w.WriteHeader(http.StatusTooManyRequests)
		case "/v2/odd/manifests/1":
			w.WriteHeader(799)
		}
	})
	reg := prometheus.NewRegistry()
	c.Metrics = registry.NewMetrics(reg)
	for _, image := range []string{host + "/a:1", host + "/odd:1", host + "/busy:1", host + "/busy:1", "127.0.0.2:1/a:1"} {
		_, _ = c.Head(t.Context(), registry.Request{Ref: ref.MustParse(image)})
	}
	own := registry.Request{Ref: ref.MustParse(host + "/own:1"), Credentials: []keychain.Credential{
		{Auth: authn.AuthConfig{Username: "u", Password: "p"}},
	}}
	_, _ = c.Head(t.Context(), own)
	want := fmt.Sprintf(`
# HELP tagpin_registry_not_asked_total Requests to registries (other, unless the config names it or it is well known) that were not made, since an answer a moment ago (429, 503, a refused login, a failed connection) said not to.
# TYPE tagpin_registry_not_asked_total counter
tagpin_registry_not_asked_total{registry=%[1]q} 1
# HELP tagpin_registry_pulls_remaining Pulls that a registry said it still allows (ratelimit-remaining), by its last answer that said so; only of registries that the config names or that are well known.
# TYPE tagpin_registry_pulls_remaining gauge
tagpin_registry_pulls_remaining{registry=%[1]q} 76
# HELP tagpin_registry_requests_total Requests to registries (other, unless the config names it or it is well known), by kind (HEAD, GET, token, or challenge at /v2/) and answer: 200, 401, 403, 404, 429, 503, 4xx and 5xx for the rarer ones, else (any other status) or none (no answer).
# TYPE tagpin_registry_requests_total counter
tagpin_registry_requests_total{answer="200",kind="HEAD",registry=%[1]q} 2
tagpin_registry_requests_total{answer="401",kind="HEAD",registry=%[1]q} 1
tagpin_registry_requests_total{answer="429",kind="HEAD",registry=%[1]q} 1
tagpin_registry_requests_total{answer="5xx",kind="HEAD",registry=%[1]q} 1
tagpin_registry_requests_total{answer="none",kind="HEAD",registry="other"} 1
`, host)
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// TestClosedConnection checks that a lookup succeeds if the server has closed the idle connection.
func TestClosedConnection(t *testing.T) {
	s, host, c := registry.Serve(t, func(http.ResponseWriter, *http.Request) {})
	c.Hosts = []registry.Host{{Name: "*", RequestsPerSecond: 1e6}}
	for range 50 {
		if _, err := c.Head(t.Context(), registry.Request{Ref: ref.MustParse(host + "/a:1")}); err != nil {
			t.Fatal(err)
		}
		s.CloseClientConnections()
	}
}
