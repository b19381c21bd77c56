// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"time"
)

// Bounds of an answer's header, which is held while its body is read. Go needs about 100 bytes for each
// line, however short it is. Registries send some 20 lines and less than 8 KiB.
const (
	maxHeaderBytes = 32 << 10
	maxHeaderLines = 200
)

// errHeader reports an answer with more than maxHeaderLines lines of header.
var errHeader = errors.New("too many lines of header")

// bounded returns an answer, unless its header is too long.
func bounded(resp *http.Response, err error) (*http.Response, error) {
	if err != nil {
		return nil, err
	}
	lines := 0
	for _, values := range resp.Header {
		lines += len(values)
	}
	if lines > maxHeaderLines {
		_ = resp.Body.Close()
		return nil, errHeader
	}
	return resp, nil
}

// newTransport makes a transport that dials what Network allows, or goes by the proxy.
func (c *Client) newTransport(roots *x509.CertPool) http.RoundTripper {
	base := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		},
		TLSHandshakeTimeout:    DefaultTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    DefaultMaxInFlight,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // the bytes that are hashed are those that were sent
		HTTP2: &http.HTTP2Config{ // what a server may send before anybody reads it
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerStream:     freeBody,
			MaxReceiveBufferPerConnection: DefaultMaxInFlight * freeBody,
		},
	}
	direct, proxied, resolver := base.Clone(), base.Clone(), c.resolver()
	dials, dial := &c.state.dials, dialAbsolute(c.Network.dialer(resolver))
	direct.DialContext = inRoom(dials, dial)
	direct.DialTLSContext = inRoom(dials, overTLS(base.TLSClientConfig, dial))
	// To the proxy, which the operator chose. What follows on its connection is net/http's, which
	// has no bound for a handshake and no turns: there, the proxy stands between tagpin and the
	// registry.
	proxied.DialContext = inRoom(dials, dialAbsolute(newDialer(resolver)))
	t := &byProxy{
		direct: direct, proxied: proxied, network: c.Network,
		named: c.names, proxy: c.Proxy, resolver: resolver,
	}
	if t.proxy == nil {
		t.proxy = http.ProxyFromEnvironment
	}
	proxied.Proxy, proxied.OnProxyConnectResponse = t.proxy, refusedByProxy
	return t
}

// names tells whether the config names the host of a URL: a registry's, a mirror's, or a token realm's.
func (c *Client) names(host string) bool {
	_, ok := c.state.apis[host]
	return ok
}

// Close closes idle connections.
func (c *Client) Close() {
	if c.Init() != nil {
		return
	}
	closeIdle(c.state.shared)
	for _, t := range c.state.transports {
		closeIdle(t)
	}
}

func closeIdle(t http.RoundTripper) {
	switch t := t.(type) {
	case *byProxy:
		t.direct.CloseIdleConnections()
		t.proxied.CloseIdleConnections()
	case *trusting:
		closeIdle(t.files.Current())
	}
}

// byProxy sends a request directly, or by the proxy of the environment. What a proxy connects to can't be checked here,
// so the name is resolved and checked before; where it can't be resolved, only hosts that the config names are asked.
type byProxy struct {
	direct, proxied *http.Transport
	network         Network
	resolver        *net.Resolver
	proxy           func(*http.Request) (*url.URL, error)
	named           func(host string) bool
}

func (t *byProxy) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := t.proxy(r)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if proxy == nil {
		return bounded(t.direct.RoundTrip(r))
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(r.URL.Host) // as without a proxy, what fails from here on is the connection
	}
	addrs, err := t.resolver.LookupNetIP(r.Context(), "ip", absolute(r.URL.Hostname()))
	if err != nil && !t.named(r.URL.Host) {
		return nil, fmt.Errorf("%w: %s can't be resolved here, and the config does not name it", ErrAddress, r.URL.Host)
	}
	for _, a := range addrs {
		if err := t.network.Check(a); err != nil {
			return nil, err
		}
	}
	resp, err := t.proxied.RoundTrip(r)
	// net/http marks what failed on the way to the proxy.
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "proxyconnect" {
		err = &proxyError{host: proxy.Hostname(), err: err}
	}
	return bounded(resp, err)
}

// proxyError is a proxy that could not be connected to, or that refused to connect to a registry.
type proxyError struct {
	host   string
	err    error
	reason string // if err has none
}

// refusedByProxy is called with a proxy's answer to CONNECT.
func refusedByProxy(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	reason := "it answered " + strconv.Itoa(answer.StatusCode) + " to CONNECT"
	return &proxyError{host: proxy.Hostname(), err: errors.New(reason), reason: reason}
}

func (e *proxyError) Error() string { return "proxy " + e.host + ": " + e.err.Error() }

func (e *proxyError) Unwrap() error { return e.err }
