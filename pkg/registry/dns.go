// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strings"
)

// absolute returns host as DNS is asked for it: a name with a dot ends in one, so that no search
// list applies to it. A pod's search list would ask for registry.internal as
// registry.internal.svc.cluster.local first, which is the Service "registry" of whoever owns the
// namespace "internal". A name without a dot can only be resolved through the search list, and an
// IP address is not resolved at all.
//
// The dot is for DNS alone. The Host header, the TLS server name, the certificate's verification
// and a proxy's CONNECT get the name as it was written.
func absolute(host string) string {
	if !strings.Contains(host, ".") || strings.HasSuffix(host, ".") {
		return host
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	return host + "."
}

// dialAbsolute dials with d, after it has made the name of the address absolute.
func dialAbsolute(d *net.Dialer) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, net.JoinHostPort(absolute(host), port))
	}
}

// resolver is the Client's own, or one for the system's settings. On Linux that is Go's: it finds
// an absolute name in /etc/hosts, where the C library's does not, and a program built with cgo
// resolves as the released one does.
func (c *Client) resolver() *net.Resolver {
	if c.Resolver != nil {
		return c.Resolver
	}
	return &net.Resolver{PreferGo: runtime.GOOS == "linux"}
}
