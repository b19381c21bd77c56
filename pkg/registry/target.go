// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// hub is Docker Hub's name in references, and hubAPI that of the host which serves it.
const hub, hubAPI = "docker.io", "registry-1.docker.io"

// wellKnown are public registries that have a label of their own in metrics even if the config does
// not name them. The list says nothing about what tenants are told.
var wellKnown = []string{
	hub, "ghcr.io", "quay.io", "registry.k8s.io", "gcr.io", "public.ecr.aws", "mcr.microsoft.com",
	"registry.gitlab.com", "nvcr.io", "docker.elastic.co", "registry.redhat.io", "cgr.dev",
}

// address is a registry, however a tenant spells its name: Registry.Example:0443 is the same
// registry as registry.example, and registry-1.docker.io the same as docker.io, with the same
// settings, bounds and gates.
type address struct {
	host     string // in its canonical spelling
	insecure bool   // plain HTTP
}

func newAddress(name string, insecure bool) address {
	host := network.CanonicalHost(name, insecure)
	if host == "index.docker.io" || host == hubAPI {
		host = hub
	}
	return address{host, insecure}
}

// Same reports whether both are settings of the same registry, perhaps by two names.
func (h Host) Same(other Host) bool {
	return h.Name == other.Name ||
		newAddress(h.Name, h.Insecure) == newAddress(other.Name, other.Insecure)
}

// target is a registry as the settings say that it is asked.
type target struct {
	Host      // with defaults; Name is as in the reference
	address   address
	label     string // for metrics; "" if it has none (Client.Label)
	reach     string // identifies how the registry is reached; "" by default
	answers   string // identifies all settings that an answer may depend on
	transport http.RoundTripper
	files     *network.HostTransport // nil if the registry has no TLS files
	isNamed   bool                   // Client.Hosts or Client.Lenient has it
	lenient   bool                   // asked by TLS with any certificate, or by plain HTTP (Lenient)
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

// find returns the registry of a name. A name without a port is that of port 443. It is that of
// port 80 only if the config has this name, without a port, as insecure. Init must have been
// called.
func (c *Client) find(name string) target {
	t := c.others
	for _, insecure := range []bool{false, true} {
		at := newAddress(name, insecure)
		named, ok := c.named[at]
		if ok && (!insecure || hasPort(name) || !hasPort(named.Name)) {
			t, t.address = named, at
			break
		}
		if insecure == t.Insecure {
			t.address = at
		}
	}
	t.Name, t.label = name, c.labels[t.address]
	t.lenient = t.lenient || c.isLoopback(t.api())
	if t.label == "" && !t.Insecure && slices.Contains(wellKnown, t.address.host) {
		t.label = t.address.host
	}
	return t
}

// isPlain reports whether the config says that a host, in its canonical spelling, is asked over
// plain HTTP, or may be. A lenient registry may lead to another host of this machine, but no other
// registry may.
func (c *Client) isPlain(host string, lenient bool) bool {
	_, named := c.named[address{host, true}] // only insecure ones have such an address
	return named || c.others.Insecure || c.lenient.hosts[host] || lenient && c.isLoopback(host)
}

func hasPort(name string) bool { return (&url.URL{Host: name}).Port() != "" }

// api returns the host that requests go to. For Docker Hub that is not the registry's name.
func (t *target) api() string {
	if t.address.host == hub {
		return hubAPI
	}
	return t.address.host
}

// server stands for the host and the settings of how it is reached. What was learned with other
// settings is not used: if an operator configures another CA, the registry is asked at once.
func (t *target) server() string { return t.api() + t.reach }

// addNames records the hosts that the settings of a registry name.
func (c *Client) addNames(h Host) {
	var names []string
	if h.Name != allHosts {
		names = append(names, h.Name)
	}
	for _, m := range h.Mirrors {
		host, _, _ := strings.Cut(m.Host, "/")
		names = append(names, host)
	}
	for _, name := range names {
		t := c.find(name)
		c.labels[t.address], c.apis[t.api()] = name, true
		for _, realm := range auth.KnownRealms(t.api()) {
			c.apis[realm] = true
		}
	}
	for _, realm := range h.AuthHosts {
		c.apis[network.CanonicalHost(realm, false)] = true
		c.apis[network.CanonicalHost(realm, h.Insecure)] = true
	}
}
