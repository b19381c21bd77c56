// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// address is a registry, however a tenant spells its name: Registry.Example:0443 is the same
// registry as registry.example, with the same settings, bounds and gates.
type address struct {
	host     string // in its canonical spelling
	insecure bool   // plain HTTP
}

func newAddress(name string, insecure bool) address {
	return address{network.CanonicalHost(name, insecure), insecure}
}

// target is a registry as the settings say that it is asked.
type target struct {
	Host      // with defaults; Name is as in the reference
	address   address
	label     string // the name as the config spells it; "" if the config does not have it
	reach     string // identifies how the registry is reached; "" by default
	answers   string // identifies all settings that an answer may depend on
	transport http.RoundTripper
}

func newTarget(h Host, transport http.RoundTripper) target {
	h.Timeout = cmp.Or(h.Timeout, DefaultTimeout)
	h.MaxInFlight = cmp.Or(h.MaxInFlight, DefaultMaxInFlight)
	h.RequestsPerSecond = cmp.Or(h.RequestsPerSecond, DefaultRequestsPerSecond)
	t := target{Host: h, transport: transport}
	if h.TLS != (network.TLSFiles{}) || h.Insecure || len(h.AuthHosts) > 0 {
		t.reach = fmt.Sprintf(" tls=%q insecure=%t authHosts=%q", h.TLS, h.Insecure, h.AuthHosts)
	}
	if t.answers = t.reach; h.Verify {
		t.answers += " verify"
	}
	return t
}

// find returns the registry of a name. A name without a port is that of port 443, unless the config
// itself has the name without a port. Init must have been called.
func (c *Client) find(name string) target {
	t := c.others
	t.address = newAddress(name, t.Insecure)
	for _, insecure := range []bool{false, true} {
		at := newAddress(name, insecure)
		named, ok := c.named[at]
		if ok && (!insecure || hasPort(name) || !hasPort(named.Name)) {
			t, t.address = named, at
			break
		}
	}
	t.Name, t.label = name, c.labels[t.address]
	return t
}

// isPlain reports whether the config says that a host, in its canonical spelling, is asked over
// plain HTTP.
func (c *Client) isPlain(host string) bool {
	if t, ok := c.named[address{host, true}]; ok {
		return t.Insecure
	}
	return c.others.Insecure
}

func hasPort(name string) bool { return (&url.URL{Host: name}).Port() != "" }

// api returns the host that requests go to. For Docker Hub that is not the registry's name.
func (t *target) api() string {
	if t.address.host == "docker.io" || t.address.host == "index.docker.io" {
		return "registry-1.docker.io"
	}
	return t.address.host
}

// origin stands for the registry and the settings of how it is reached. What was learned with other
// settings is not used: if an operator configures another CA, the registry is asked at once.
func (t *target) origin() string { return t.api() + t.reach }

// addNames records the hosts that the settings of a registry name.
func (c *Client) addNames(h Host) {
	names := []string{h.Name}
	for _, m := range h.Mirrors {
		host, _, _ := strings.Cut(m.Host, "/")
		names = append(names, host)
	}
	for _, name := range names {
		t := c.find(name)
		c.labels[t.address], c.apis[t.api()] = name, true
		if realm := auth.KnownRealm(t.api()); realm != "" {
			c.apis[realm] = true
		}
	}
	for _, realm := range h.AuthHosts {
		c.apis[network.CanonicalHost(realm, false)] = true
		c.apis[network.CanonicalHost(realm, h.Insecure)] = true
	}
}
