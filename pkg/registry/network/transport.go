// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
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

// These are the bounds of an answer's header, which is in memory while its body is read. Go needs
// about 100 bytes for each line, however short it is. Registries send about 20 lines and less than
// 8 KiB.
const (
	maxHeaderBytes = 32 << 10
	maxHeaderLines = 200
)

var errHeader = errors.New("too many lines of header")

// Transport returns a transport that trusts the CAs in Roots.
func (n *Network) Transport() http.RoundTripper { return n.transport(n.Roots) }

func (n *Network) transport(roots *x509.CertPool, client ...tls.Certificate) *transport {
	base := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: roots, Certificates: client, VerifyConnection: checkCertificates,
			MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		},
		TLSHandshakeTimeout:    connectTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // the bytes that were sent are hashed
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerStream:     window,
			MaxReceiveBufferPerConnection: maxIdlePerHost * window,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
	}
	t := &transport{Network: *n, direct: base.Clone(), proxied: base.Clone()}
	t.Resolver = cmp.Or(n.Resolver, systemResolver())
	if t.Proxy == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	dial := dialAbsolute(n.Rules.dialer(t.Resolver))
	t.direct.DialContext = inRoom(n.Dials, dial)
	t.direct.DialTLSContext = inRoom(n.Dials, overTLS(base.TLSClientConfig, dial))
	// This dials the proxy, which the operator chose. The TLS handshake through the proxy is
	// net/http's and has no bound.
	t.proxied.DialContext = inRoom(n.Dials, dialAbsolute(newDialer(t.Resolver)))
	t.proxied.Proxy, t.proxied.OnProxyConnectResponse = t.Proxy, refusedByProxy
	return t
}

// transport sends a request directly, or through a proxy. The address that a proxy connects to
// can't be checked here. So the name is looked up and its addresses are checked before. A name that
// can't be looked up is only asked for if the config names it.
type transport struct {
	Network         // with defaults
	direct, proxied *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	proxy, err := t.Proxy(r)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	if proxy == nil {
		return checkHeader(t.direct.RoundTrip(r))
	}
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(r.URL.Host) // as without a proxy: a failure from here on is one of the connection
	}
	addrs, err := t.Resolver.LookupNetIP(r.Context(), "ip", absolute(r.URL.Hostname()))
	if err != nil && !t.Named(r.URL.Host) {
		return nil, fmt.Errorf("%w: %s can't be resolved here, and the config does not name it",
			ErrAddress, r.URL.Host)
	}
	for _, a := range addrs {
		if err := t.Rules.Check(a); err != nil {
			return nil, err
		}
	}
	resp, err := t.proxied.RoundTrip(r)
	// net/http marks errors of the connection to the proxy.
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "proxyconnect" {
		err = &proxyError{host: proxy.Hostname(), err: err}
	}
	return checkHeader(resp, err)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *transport) CloseIdleConnections() {
	t.direct.CloseIdleConnections()
	t.proxied.CloseIdleConnections()
}

// checkHeader returns an answer, or errHeader if its header is too long.
func checkHeader(resp *http.Response, err error) (*http.Response, error) {
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

// proxyError reports that a proxy was not reached, or refused to connect to a host.
type proxyError struct {
	host   string
	err    error
	answer string // to CONNECT, in words
}

// refusedByProxy is called with a proxy's answer to CONNECT.
func refusedByProxy(
	_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response,
) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	answer := "it answered " + strconv.Itoa(resp.StatusCode) + " to CONNECT"
	return &proxyError{host: proxy.Hostname(), err: errors.New(answer), answer: answer}
}

func (e *proxyError) Error() string { return "proxy " + e.host + ": " + e.err.Error() }

// Unwrap returns the cause.
func (e *proxyError) Unwrap() error { return e.err }
