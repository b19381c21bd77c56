// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// ErrAddress says that an address may not be dialled.
var ErrAddress = errors.New("address not allowed")

// refused are the address ranges that no registry is at, and where tenants must not be led: beside loopback, link-local,
// unspecified and multicast addresses, the forms that hide another address (NAT64, RFC 6052 and 8215; 6to4, Teredo), and
// the metadata services of clouds that are at none of those.
var refused = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, deprecated
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"),        // Teredo
	netip.MustParsePrefix("2002::/16"),        // 6to4
	netip.MustParsePrefix("fd00:ec2::/32"),    // AWS
	netip.MustParsePrefix("fd20:ce::254/128"), // Google Cloud
	netip.MustParsePrefix("fd00:42::42/128"),  // Scaleway
}

// Network says which addresses may be dialled, beyond the built-in rules: Deny over Allow over those.
type Network struct {
	Allow, Deny []netip.Prefix
}

// Check is nil where addr may be dialled, else ErrAddress.
func (n Network) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	switch {
	case contains(n.Deny, addr):
	case contains(n.Allow, addr):
		return nil
	case addr.IsLoopback(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), addr.IsMulticast(), contains(refused, addr):
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrAddress, addr)
}

func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// newDialer makes a dialer that looks names up by resolver.
func newDialer(resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{Timeout: DefaultTimeout, KeepAlive: 30 * time.Second, Resolver: resolver}
}

// dialer checks each address after names are resolved and before it is connected to, so that no second resolution can
// give another one.
func (n Network) dialer(resolver *net.Resolver) *net.Dialer {
	d := newDialer(resolver)
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		return n.Check(ap.Addr())
	}
	return d
}
