// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
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
func (n *Network) Transport() http.RoundTripper {
	return n.transportWith(tlsSettings{roots: n.Roots})
}

// Unverified returns a transport that accepts any certificate of a registry.
func (n *Network) Unverified() http.RoundTripper {
	return n.transportWith(tlsSettings{roots: n.Roots, unverified: true})
}

// transportWith returns a transport that speaks HTTP/1.1 alone. By HTTP/2, net/http bounds neither
// the idle connections nor what a server may send on them, so that a tenant with many hosts could
// use up the memory and the processor.
func (n *Network) transportWith(settings tlsSettings) *transport {
	base := &http.Transport{
		TLSClientConfig:        settings.config(""),
		TLSHandshakeTimeout:    connectTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true, // the bytes that were sent are hashed
	}
	base.Protocols = new(http.Protocols)
	base.Protocols.SetHTTP1(true)
	t := &transport{
		Network: *n, tls: settings, direct: base.Clone(), proxied: base.Clone(),
	}
	t.Resolver = boundedResolver(cmp.Or(n.Resolver, systemResolver()))
	if t.Proxy == nil {
		t.Proxy = http.ProxyFromEnvironment
	}
	dial := dialAbsolute(n.Rules.dialer(t.Resolver))
	t.direct.DialContext = inRoom(n.Dials, dial)
	t.direct.DialTLSContext = inRoom(n.Dials, overTLS(settings, dial))
	// These dial the proxy, which the operator chose.
	dial = dialAbsolute(newDialer(t.Resolver))
	t.proxied.DialContext = inRoomUntilReady(n.Dials, dial)
	// The client certificate is for the registry, and so is the leave to accept any certificate.
	ofProxy := tlsSettings{roots: settings.roots}
	t.proxied.DialTLSContext = inRoomUntilReady(n.Dials, overTLS(ofProxy, dial))
	t.proxied.Proxy, t.proxied.OnProxyConnectResponse = t.Proxy, refusedByProxy
	return t
}

// transport sends a request directly, or through a proxy. The address that a proxy connects to
// can't be checked here. So the name is looked up and its addresses are checked before. A name that
// can't be looked up is only asked for if the config names it.
type transport struct {
	Network         // with defaults
	tls             tlsSettings
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
	addrs, err := t.lookup(r)
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := t.Rules.Check(a); err != nil {
			return nil, err
		}
	}
	resp, err := t.through(r).RoundTrip(r)
	// net/http marks errors of the connection to the proxy.
	if op := new(net.OpError); errors.As(err, &op) && op.Op == "proxyconnect" {
		err = &proxyError{host: proxy.Hostname(), err: err}
	}
	return checkHeader(resp, err)
}

// through returns the transport for a request through a proxy. net/http makes the TLS connection to
// the registry, and crypto/tls names the host to VerifyConnection only if it is no address. So a
// request to an address has a transport of its own, and its connection is not kept.
func (t *transport) through(r *http.Request) *http.Transport {
	host := r.URL.Hostname()
	if _, err := netip.ParseAddr(host); err != nil || r.URL.Scheme != "https" {
		return t.proxied
	}
	own := t.proxied.Clone()
	own.TLSClientConfig, own.DisableKeepAlives = t.tls.config(host), true
	return own
}

// lookup returns the addresses of the host that a proxy is asked for. A host that the config names
// may have none, and its lookup must leave time for the request: where only the proxy reaches the
// internet, DNS may answer nothing at all.
func (t *transport) lookup(r *http.Request) ([]netip.Addr, error) {
	ctx, named := r.Context(), t.Named(r.URL.Host)
	if named {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, proxiedLookup)
		defer cancel()
	}
	addrs, err := t.Resolver.LookupNetIP(ctx, "ip", absolute(r.URL.Hostname()))
	if err != nil && !named {
		return nil, fmt.Errorf("%w: %s can't be resolved here, and the config does not name it",
			ErrAddress, r.URL.Host)
	}
	return addrs, nil
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
