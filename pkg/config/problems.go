// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// problems collects the mistakes in a config, each with the path of its field.
type problems struct{ errs []error }

// index returns the path of an element of a list.
func index(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// add adds an error, or each one of several joined errors. A nil error is ignored.
func (p *problems) add(field string, err error) {
	if err == nil {
		return
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range several.Unwrap() {
			p.add(field, e)
		}
		return
	}
	p.errs = append(p.errs, fmt.Errorf("%s: %w", field, err))
}

// check adds an error unless ok.
func (p *problems) check(ok bool, field, format string, args ...any) {
	if !ok {
		p.errs = append(p.errs, fmt.Errorf(field+": "+format, args...))
	}
}

func (p *problems) oneOf(field, value string, allowed ...string) {
	p.check(slices.Contains(allowed, value), field,
		"%q: want %s", value, strings.Join(allowed, " or "))
}

func (p *problems) within(field string, value, most int) {
	p.check(value >= 1 && value <= most, field, "%d: want 1 to %d", value, most)
}

func (p *problems) positive(field string, d Duration) {
	p.check(d > 0, field, "%v: want more than 0s", d)
}

func (p *problems) absolute(field, path string) {
	p.check(path == "" || filepath.IsAbs(path), field, "%q: want an absolute path", path)
}

func (p *problems) host(field, host string) {
	p.check(isCanonicalHost(host), field, "%q is not a registry host as in a canonical reference, "+
		"such as docker.io or registry.internal:5000", host)
}

// cidrs parses the elements of a list.
func (p *problems) cidrs(field string, list []string) (parsed []netip.Prefix) {
	for i, s := range list {
		prefix, err := netip.ParsePrefix(s)
		p.check(err == nil, index(field, i),
			"%q is not a CIDR, such as 10.0.0.0/8 or 127.0.0.1/32", s)
		p.check(!prefix.Addr().Is4In6(), index(field, i), // addresses are compared as IPv4
			"%q is in the form of IPv6; write it as IPv4, such as 10.0.0.0/8", s)
		p.check(prefix == prefix.Masked(), index(field, i),
			"%q has bits beyond its length: want %s", s, prefix.Masked())
		parsed = append(parsed, prefix)
	}
	return parsed
}
