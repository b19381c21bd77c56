// SPDX-License-Identifier: Apache-2.0

package trail

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/e2e/pki"
)

// Pull secrets of the pods. The API server has wrong and realm, and allows nobody to read
// forbidden. Each is for one cause, because tagpin remembers a secret for some seconds.
const (
	wrongSecret     = "wrong"
	realmSecret     = "realm"
	missingSecret   = "missing"
	forbiddenSecret = "forbidden"
)

// cause is a cause for which a lookup fails.
type cause struct {
	name string
	// answer is what the registry answers. If nil, host is a host without one.
	answer    http.HandlerFunc
	host      string
	unknownCA bool // the registry's certificate is of a CA that nobody trusts
	// realm is true if the token endpoint is on another port, as that of GitLab may be.
	realm      bool
	pullSecret string // of the pod

	class string
	log   string // what the cause in the log begins with, after the registry
	do    string // what to do, for the page
}

// causes are the rows of the page.
func causes() []cause {
	return []cause{
		{
			name: "DNS", host: "registry.shop.invalid", class: "unavailable", log: "DNS knows no such host",
			do: "correct the name, or the DNS that tagpin's pods use ([names in DNS](private-clusters.md#names-in-dns))",
		},
		{
			name: "TLS of a private CA", answer: status(http.StatusOK), unknownCA: true, class: "unavailable",
			log: "its TLS certificate is signed by an unknown authority; see caFile",
			do:  "[`registries[].caFile`](private-clusters.md#a-private-ca)",
		},
		{
			name: "refused address", host: "169.254.169.254", class: "unavailable", log: "its address is not allowed; see network.allow",
			do: "if a registry is at the address, `network.allow`; otherwise somebody tries what tagpin refuses",
		},
		{
			name: "proxy", host: "192.0.2.1", class: "unavailable", log: "the proxy 127.0.0.1: it answered 403 to CONNECT",
			do: "have the proxy let tagpin through to the registry, or ask the registry without it ([a proxy](private-clusters.md#a-proxy))",
		},
		{
			name: "connection refused", host: "127.0.0.1:1", class: "unavailable", log: "connection refused",
			do: "start the registry, or open the firewall or the NetworkPolicy between tagpin and the registry",
		},
		{
			name: "401", answer: challenge, pullSecret: wrongSecret, class: "unauthorized", log: "401 Unauthorized",
			do: "renew the password in the pull secret ([credentials](credentials.md))",
		},
		{
			name: "token realm on another port", answer: challenge, realm: true, pullSecret: realmSecret, class: "unauthorized",
			log: "its token realm is on another host or port, ",
			do:  "if the token endpoint is the registry's own, `registries[].authHosts` with that host ([registries](registries.md))",
		},
		{
			name: "403", answer: status(http.StatusForbidden), class: "unauthorized", log: "403 Forbidden",
			do: "give the account the right to pull, or the pod a pull secret; some registries answer so for an image that does not exist",
		},
		{
			name: "404", answer: status(http.StatusNotFound), class: "notFound", log: "404 Not Found",
			do: "push the image, or correct its name; some registries answer so for a private image",
		},
		{
			name: "429", answer: status(http.StatusTooManyRequests), class: "unavailable", log: "429 Too Many Requests, to be asked again in 7s",
			do: "wait, use an account with a larger quota, or a mirror ([TagpinPullsRunOut](runbooks.md#tagpinpullsrunout))",
		},
		{
			name: "5xx", answer: status(http.StatusBadGateway), class: "unavailable", log: "502 Bad Gateway",
			do: "the registry is at fault ([TagpinRegistryUnavailable](runbooks.md#tagpinregistryunavailable))",
		},
		{
			name: "timeout", answer: hang, class: "unavailable", log: "timed out",
			do: "find out what is slow; `registries[].timeout`, or a mirror",
		},
		{
			name: "malformed answer", answer: page, class: "invalid", log: "",
			do: "something that is no registry answers, such as a login page or a proxy: ask whoever runs it",
		},
		{
			name: "missing pull secret", answer: challenge, pullSecret: missingSecret, class: "unauthorized", log: "401 Unauthorized; pull secret",
			do: "create the secret in the namespace of the pod ([credentials](credentials.md))",
		},
		{
			name: "forbidden pull secret", answer: challenge, pullSecret: forbiddenSecret, class: "unauthorized", log: "401 Unauthorized; pull secret",
			do: "give tagpin's account the right to get the secret ([TagpinForbidden](runbooks.md#tagpinforbidden))",
		},
	}
}

// status returns a handler that always answers with a status.
func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(code)
	}
}

// challenge refuses every credential.
func challenge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
	w.WriteHeader(http.StatusUnauthorized)
}

// challengeTo names a token endpoint.
func challengeTo(realm string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// hang answers when the client has gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// page answers with a page, as portals do.
func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<title>"+canary+"</title>")
}

// canary is in what registries answer and in passwords, and must never be shown.
const canary = "e2e-canary"

// registry returns the host of the cause, and starts its registry.
func (c *cause) registry(t *testing.T, trusted *pki.CA) string {
	t.Helper()
	if c.answer == nil {
		return c.host
	}
	ca := trusted
	if c.unknownCA {
		var err error
		if ca, err = pki.New(); err != nil {
			t.Fatal(err)
		}
	}
	answer := c.answer
	if c.realm {
		answer = challengeTo(serveTLS(t, trusted, http.HandlerFunc(challenge)))
	}
	return strings.TrimPrefix(serveTLS(t, ca, answer), "https://")
}
