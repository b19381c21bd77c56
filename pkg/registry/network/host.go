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

// IsASCII reports whether a host has only printable ASCII characters. url.Parse decodes what is
// escaped in a host, and a terminal would obey it. net/http would ask for another name than it.
func IsASCII(host string) bool {
	return !strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r > '~' })
}

// CutHost returns a host for the text of an error: it is cut if it is too long, and not quoted if
// it is not in ASCII.
func CutHost(host string) string {
	if !IsASCII(host) {
		return "a host that is not in ASCII; it has to be written in Punycode"
	}
	if len(host) > MaxHost {
		return host[:MaxHost] + "…"
	}
	return host
}

// CanonicalHost returns the one spelling of the host of a URL: in lower case, an IP address in its
// shortest form, without a dot at the end, and the port as a number. The port is left out if it is
// the default of HTTPS, or that of HTTP if plain is true. It returns "" for a host that is not in
// ASCII (IsASCII).
func CanonicalHost(name string, plain bool) string {
	if !IsASCII(name) {
		return ""
	}
	name = strings.ToLower(name)
	if !strings.Contains(name, ":") {
		return strings.TrimSuffix(name, ".") // by far the most common
	}
	u := url.URL{Host: name}
	host, port := strings.TrimSuffix(u.Hostname(), "."), u.Port()
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

// IsLoopback reports whether the host of a URL is this machine by its name (RFC 6761, section 6.3)
// or address. A host of which only DNS says so is not.
func IsLoopback(host string) bool {
	u := url.URL{Host: host}
	name := strings.TrimSuffix(u.Hostname(), ".")
	ip, err := netip.ParseAddr(name)
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		err == nil && ip.Unmap().IsLoopback()
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

// dialAbsolute returns a function that dials with d and makes the name of the address absolute. The
// connection is closed when its peer has been silent for a while.
func dialAbsolute(d *net.Dialer) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		conn, err := d.DialContext(ctx, network, net.JoinHostPort(absolute(host), port))
		if err == nil {
			closeIfSilent(conn)
		}
		return conn, err
	}
}

// systemResolver returns a resolver with the system's settings. On Linux it is Go's own: it finds
// an absolute name in /etc/hosts, which the C library doesn't, and a program that is built with cgo
// then resolves names as the released one does.
func systemResolver() *net.Resolver { return &net.Resolver{PreferGo: runtime.GOOS == "linux"} }

// boundedResolver returns a resolver with the settings of r that fails with errDNS if an answer is
// too long. Whoever owns a name also owns its answer. Only Go's own resolver is bounded. An answer
// over UDP is short: Go asks for 1,232 bytes at most.
func boundedResolver(r *net.Resolver) *net.Resolver {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	bounded := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if _, packets := conn.(net.PacketConn); err != nil || packets {
			return conn, err
		}
		return newBounded(conn, maxDNS, errDNS), nil
	}
	return &net.Resolver{PreferGo: r.PreferGo, StrictErrors: r.StrictErrors, Dial: bounded}
}
