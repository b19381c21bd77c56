// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"runtime"
	"strings"
)

// MaxHost bounds a host: a DNS name, a colon and a port (RFC 1035, section 2.3.4).
const MaxHost = 253 + 6

// CutHost returns a host for the text of an error: it is cut if it is too long.
func CutHost(host string) string {
	if len(host) > MaxHost {
		return host[:MaxHost] + "…"
	}
	return host
}

// CanonicalHost returns the one spelling of the host of a URL: in lower case, an IP address in its
// shortest form, and the port as a number. The port is left out if it is the default of HTTPS, or
// that of HTTP if plain is true.
func CanonicalHost(name string, plain bool) string {
	name = strings.ToLower(name)
	if !strings.Contains(name, ":") {
		return name // by far the most common
	}
	u := url.URL{Host: name}
	host, port := u.Hostname(), u.Port()
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if last := len(port) - 1; last > 0 {
		port = strings.TrimLeft(port[:last], "0") + port[last:]
	}
	defaultPort := "443"
	if plain {
		defaultPort = "80"
	}
	if port != "" && port != defaultPort {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// absolute returns a host as DNS is asked for it. A name with a dot gets a dot at its end, so that
// no search list applies to it: with a pod's search list, registry.internal is first looked up as
// registry.internal.svc.cluster.local, which is the Service "registry" of the tenant that owns the
// namespace "internal". A name without a dot can only be resolved through the search list, and an
// IP address is not resolved at all.
//
// Only DNS sees the dot at the end. The Host header, the TLS server name, the verification of the
// certificate and a proxy's CONNECT have the name as it was written.
func absolute(host string) string {
	if !strings.Contains(host, ".") || strings.HasSuffix(host, ".") {
		return host
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return host
	}
	return host + "."
}

// dialAbsolute returns a function that dials with d and makes the name of the address absolute.
func dialAbsolute(d *net.Dialer) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return d.DialContext(ctx, network, net.JoinHostPort(absolute(host), port))
	}
}

// systemResolver returns a resolver with the system's settings. On Linux it is Go's own: it finds
// an absolute name in /etc/hosts, which the C library doesn't, and a program that is built with cgo
// then resolves names as the released one does.
func systemResolver() *net.Resolver { return &net.Resolver{PreferGo: runtime.GOOS == "linux"} }
