// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// Lenient are the hosts that are asked without a check of who they are: by TLS with any
// certificate, or by plain HTTP if they don't speak TLS. Docker asks its insecure registries in the
// same way, and containerd those on localhost. The zero value has none. It is for a command-line
// tool, whose user vouches for the host. A tenant would get tagpin to show its credentials to
// whoever answers.
type Lenient struct {
	// Hosts are names as in a canonical reference. They may have other settings in Client.Hosts,
	// which still count: the client certificate is shown, and the CA is trusted for token realms
	// elsewhere.
	Hosts []string
	// Loopback adds the hosts that are this machine by their name, such as localhost:5000, except
	// those in Client.Hosts. Only loopback addresses are dialled for them. A host of which only DNS
	// says that it is this machine may be dialled too, but needs a certificate.
	Loopback bool
}

// loopback are the addresses of this machine.
var loopback = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
}

// lenient is what a client knows about lenient hosts.
type lenient struct {
	hosts   map[string]bool // those of URLs that Lenient.Hosts names
	plain   cache.Memory[string, bool]
	probing cache.Flights[string, bool]
}

// lenientTransport sends a request to a lenient host without verification, and any other request,
// such as that to a token realm elsewhere, with it.
type lenientTransport struct {
	client                    *Client
	verified, named, loopback http.RoundTripper
}

// newTransport returns the transport for the hosts that have no TLS files.
func (c *Client) newTransport() http.RoundTripper {
	if len(c.Lenient.Hosts) == 0 && !c.Lenient.Loopback {
		return c.Network.Transport()
	}
	verified, named := c.lenientNetworks()
	local := c.Network
	local.Rules.Only = loopback
	return &lenientTransport{
		client: c, verified: verified.Transport(),
		named: named.Unverified(), loopback: local.Unverified(),
	}
}

// lenientNetworks returns the networks for hosts that are verified, and for those that
// Lenient.Hosts names.
func (c *Client) lenientNetworks() (verified, named network.Network) {
	verified, named = c.Network, c.Network
	named.Rules.Allow = slices.Concat(named.Rules.Allow, loopback)
	if c.Lenient.Loopback {
		verified.Rules = named.Rules
	}
	return verified, named
}

// lenientTransportFor returns the transport for a lenient host that has TLS files. shared is that
// of those that have none.
func (c *Client) lenientTransportFor(
	host string, files network.TLSFiles, shared http.RoundTripper,
) (http.RoundTripper, error) {
	verified, named := c.lenientNetworks()
	elsewhere, err := verified.TransportFor(host, files)
	if err != nil {
		return nil, err
	}
	own, err := named.UnverifiedFor(host, files)
	if err != nil {
		return nil, err
	}
	return &lenientTransport{client: c, verified: elsewhere, named: own, loopback: shared}, nil
}

// RoundTrip implements http.RoundTripper.
func (t *lenientTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	host := network.CanonicalHost(r.URL.Host, r.URL.Scheme == "http")
	switch {
	case t.client.lenient.hosts[host]:
		return t.named.RoundTrip(r)
	case t.client.isLoopback(host):
		return t.loopback.RoundTrip(r)
	}
	return t.verified.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *lenientTransport) CloseIdleConnections() {
	for _, each := range []http.RoundTripper{t.verified, t.named, t.loopback} {
		(&http.Client{Transport: each}).CloseIdleConnections()
	}
}

// addLenient adds the hosts of Lenient to the named ones. shared is the transport of those that
// have no TLS files. An error is one about the files of a host.
func (c *Client) addLenient(shared http.RoundTripper) error {
	c.lenient.hosts = map[string]bool{}
	for _, name := range c.Lenient.Hosts {
		t := c.find(name)
		if t.Insecure {
			continue // plain HTTP by its own settings
		}
		t.isNamed = true
		t.transport = shared
		if t.TLS != (network.TLSFiles{}) {
			own, err := c.lenientTransportFor(t.api(), t.TLS, shared)
			if err != nil {
				return fmt.Errorf("registry %s: %w", name, err)
			}
			t.transport = own
		}
		t.lenient, t.reach = true, t.reach+" lenient"
		c.named[t.address] = t
		c.lenient.hosts[t.api()] = true
		c.addNames(t.Host)
	}
	return nil
}

// isLoopback reports whether a host is lenient because it is this machine.
func (c *Client) isLoopback(host string) bool {
	return c.Lenient.Loopback && !c.apis[host] && network.IsLoopback(host)
}

// settle finds out whether a lenient registry speaks TLS. If it does not, the lookup goes on by
// plain HTTP. It must be called before the first request of the lookup.
func (l *lookup) settle(ctx context.Context) {
	if !l.lenient || l.Insecure || !l.client.isPlainHTTP(ctx, l) {
		return
	}
	l.Insecure, l.address = true, newAddress(l.Name, true)
	l.realms.Host, l.realms.Insecure = l.api(), true
}

// isPlainHTTP asks a registry by TLS, and reports whether that has shown that it does not speak it.
// Only an answer is remembered.
func (c *Client) isPlainHTTP(ctx context.Context, l *lookup) bool {
	host := l.api()
	if plain, ok := c.lenient.plain.Get(host); ok {
		return plain
	}
	timeout, transport, portless := l.Timeout/2, l.transport, !hasPort(l.Name)
	plain, err := c.lenient.probing.Do(ctx, host, func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		err := probe(ctx, transport, host)
		plain := network.LacksTLS(err) || portless && errors.Is(err, syscall.ECONNREFUSED)
		if err == nil || plain { // else there was no answer
			c.lenient.plain.Put(host, plain, time.Hour)
		}
		return plain, nil
	})
	return err == nil && plain
}

// probe sends a request by TLS, whose answer does not matter.
func probe(ctx context.Context, t http.RoundTripper, host string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+"/v2/", nil)
	if err != nil {
		return err
	}
	resp, _, err := network.Do(t, req, network.Caller{MinDial: minDial})
	if err == nil {
		drain(resp.Body)
		_ = resp.Body.Close()
	}
	return err
}
