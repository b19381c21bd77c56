// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// ErrAddress reports that an address may not be dialled.
var ErrAddress = errors.New("address not allowed")

// refused are ranges of addresses where no registry is and where tenants must not lead tagpin.
// Beside loopback, link-local, unspecified and multicast addresses, these are the forms that
// contain another address (NAT64 of a network's own, RFC 8215; 6to4; Teredo) and other metadata
// services of clouds.
var refused = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
	netip.MustParsePrefix("255.255.255.255/32"),
	netip.MustParsePrefix("::/96"),           // IPv4-compatible, deprecated
	netip.MustParsePrefix("::ffff:0:0:0/96"), // IPv4-translated
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2001::/32"),        // Teredo
	netip.MustParsePrefix("2002::/16"),        // 6to4
	netip.MustParsePrefix("fd00:ec2::/32"),    // AWS
	netip.MustParsePrefix("fd20:ce::254/128"), // Google Cloud
	netip.MustParsePrefix("fd00:42::42/128"),  // Scaleway
}

// Rules say which addresses may be dialled: not those of Deny, then those of Allow, then all but
// those that the built-in rules refuse.
type Rules struct {
	Allow, Deny []netip.Prefix
	// Only are the only addresses that may be dialled, whatever else the rules say but Deny. If nil,
	// it has no effect.
	Only []netip.Prefix
}

// nat64 is the prefix of IPv4 addresses for hosts that have IPv6 alone. Their gateway connects to
// the address in the last four bytes (RFC 6052).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Check returns ErrAddress if addr may not be dialled. An address of NAT64 may be dialled if the
// IPv4 address in it may be, without Allow: that one is reached from the gateway, not from here.
func (r Rules) Check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	switch {
	case slices.ContainsFunc(r.Deny, within):
	case r.Only != nil:
		if slices.ContainsFunc(r.Only, within) {
			return nil
		}
	case slices.ContainsFunc(r.Allow, within):
		return nil
	case nat64.Contains(addr):
		bytes := addr.As16()
		if (Rules{Deny: r.Deny}).Check(netip.AddrFrom4([4]byte(bytes[12:]))) == nil {
			return nil
		}
	case addr.IsLoopback(), addr.IsLinkLocalUnicast(), addr.IsUnspecified(), addr.IsMulticast(),
		slices.ContainsFunc(refused, within):
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrAddress, addr)
}

// dialer returns a dialer that checks each address when the name has been resolved and before it
// connects, so that no second lookup can return another address.
func (r Rules) dialer(resolver *net.Resolver) *net.Dialer {
	d := newDialer(resolver)
	d.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		return r.Check(ap.Addr())
	}
	return d
}

func newDialer(resolver *net.Resolver) *net.Dialer {
	return &net.Dialer{
		Timeout: connectTimeout, Resolver: resolver,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: probeAfter},
	}
}
