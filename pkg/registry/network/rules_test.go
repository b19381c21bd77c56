// SPDX-License-Identifier: Apache-2.0

package network

import (
	"net/netip"
	"testing"
)

func TestRules(t *testing.T) {
	prefixes := func(list ...string) (p []netip.Prefix) {
		for _, s := range list {
			p = append(p, netip.MustParsePrefix(s))
		}
		return p
	}
	n := Rules{Allow: prefixes("127.0.0.0/8", "10.0.0.0/8"), Deny: prefixes("10.1.0.0/16", "203.0.113.0/24")}
	for _, tt := range []struct {
		rules   Rules
		addr    string
		allowed bool
	}{
		{Rules{}, "8.8.8.8", true},
		{Rules{}, "10.2.3.4", true},
		{Rules{}, "2600::1", true},
		{Rules{}, "127.0.0.1", false},
		{Rules{}, "::1", false},
		{Rules{}, "::ffff:127.0.0.1", false},
		{Rules{}, "0.0.0.0", false},
		{Rules{}, "0.1.2.3", false},
		{Rules{}, "::", false},
		{Rules{}, "169.254.169.254", false},
		{Rules{}, "::ffff:169.254.169.254", false},
		{Rules{}, "fe80::1%eth0", false},
		{Rules{}, "224.0.0.1", false},
		{Rules{}, "ff02::1", false},
		{Rules{}, "168.63.129.16", false},
		{Rules{}, "100.100.100.200", false},
		{Rules{}, "192.0.0.192", false},
		{Rules{}, "fd00:ec2::254", false},
		{Rules{}, "fd00:ec2::23", false},
		{Rules{}, "fd20:ce::254", false},
		{Rules{}, "fd00:42::42", false},
		{Rules{}, "::ffff:0:a9fe:a9fe", false},
		{Rules{}, "fd00:1::254", true},
		{Rules{}, "64:ff9b::a9fe:a9fe", false},
		{Rules{}, "64:ff9b::7f00:1", false},
		{Rules{}, "64:ff9b::808:808", true},
		{Rules{}, "64:ff9b::a00:1", true},
		{Rules{Deny: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, "64:ff9b::a00:1", false},
		{Rules{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "64:ff9b::7f00:1", false},
		{Rules{Allow: []netip.Prefix{netip.MustParsePrefix("64:ff9b::/96")}}, "64:ff9b::7f00:1", true},
		{Rules{}, "64:ff9b:1::1", false},
		{Rules{}, "2002:7f00:1::", false},
		{Rules{}, "::127.0.0.1", false},
		{n, "127.0.0.1", true},
		{n, "::ffff:127.0.0.1", true},
		{n, "10.2.0.1", true},
		{n, "10.1.0.1", false},
		{n, "203.0.113.9", false},
		{n, "::1", false},
	} {
		if err := tt.rules.Check(netip.MustParseAddr(tt.addr)); (err == nil) != tt.allowed {
			t.Errorf("Check(%s) = %v, want allowed %t", tt.addr, err, tt.allowed)
		}
	}
}
