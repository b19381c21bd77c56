// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"strings"
	"testing"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// Loopback lets a client dial the test's own servers.
var Loopback = network.Network{
	Rules: network.Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
}

// Serve starts a server with TLS that also speaks HTTP/2, as registries do, and returns it with its
// host and a client of it.
func Serve(t *testing.T, h http.HandlerFunc) (s *httptest.Server, host string, c *Client) {
	t.Helper()
	s = httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c = &Client{Network: Loopback, ExplainAll: true}
	c.Network.Roots = x509.NewCertPool()
	c.Network.Roots.AddCert(s.Certificate())
	t.Cleanup(c.Close)
	return s, strings.TrimPrefix(s.URL, "https://"), c
}

// one returns the lookup of a request with its first credential, or without one.
func (c *Client) one(req Request) *lookup {
	_ = c.Init()
	var first keychain.Credential
	if len(req.Credentials) > 0 {
		first = req.Credentials[0]
	}
	return c.lookup(req.Ref.Host(), req, first, new(slot))
}

// Head makes a HEAD request with the first credential, whatever the manifest is.
func (c *Client) Head(ctx context.Context, req Request) (*Manifest, error) {
	if err := c.Init(); err != nil {
		return nil, err
	}
	l := c.one(req)
	defer l.slot.leave()
	return l.request(ctx, http.MethodHead)
}

// head returns a request of a namespace.
func head(image, namespace string) Request {
	return Request{Ref: ref.MustParse(image), Namespace: namespace}
}

// over returns a client that sends all requests to a transport.
func over(t http.RoundTripper, hosts ...Host) *Client {
	c := &Client{Hosts: hosts}
	c.replace(t)
	return c
}

// replace makes the client send all requests to a transport.
func (c *Client) replace(t http.RoundTripper) {
	_ = c.Init()
	c.others.transport = t
	for at, named := range c.named {
		named.transport = t
		c.named[at] = named
	}
}

// handler is a registry without a network. If the request's context has ended when the handler
// returns, or if it panics, there is no answer.
type handler func(http.ResponseWriter, *http.Request)

var errReset = errors.New("reset")

// RoundTrip implements http.RoundTripper. It reports a new connection, as a transport does.
func (h handler) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil {
		trace.GetConn(r.URL.Host)
		trace.GotConn(httptrace.GotConnInfo{})
		trace.WroteHeaders()
	}
	defer func() {
		if recover() != nil {
			resp, err = nil, errReset
		}
	}()
	w := httptest.NewRecorder()
	h(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	resp = w.Result()
	resp.Request = r
	return resp, nil
}

// withToken wraps a handler. Requests without an Authorization header get a challenge for realm,
// and requests to the path /token get a token.
func withToken(realm string, next handler) handler {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			_, _ = w.Write([]byte(`{"token":"t","expires_in":3600}`))
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
			w.WriteHeader(http.StatusUnauthorized)
		case next != nil:
			next(w, r)
		}
	}
}

// closed returns the error of a gate that is closed.
func closed(g *gates, keys []gateKey) error {
	_, _, err := g.pass(keys, false)
	return err
}

// check reports an error if the gates of a request to an image are not open or closed as wanted.
func (c *Client) check(t *testing.T, image, namespace string, open bool) {
	t.Helper()
	if err := closed(c.gates, c.one(head(image, namespace)).gates()); (err == nil) != open {
		t.Errorf("gates of %s for %s: %v, want them open: %t", image, namespace, err, open)
	}
}
