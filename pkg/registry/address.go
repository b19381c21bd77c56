// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// address is a registry, however its name was spelled. Settings, bounds and gates are found by it,
// and requests are made with it: a tenant who writes Registry.Example:0443 asks the same registry
// as others do, and in the same way.
type address struct {
	host     string // in one spelling
	insecure bool   // plain HTTP
}

// address returns where the registry of the settings is asked.
func (h *Host) address() address { return address{spelling(h.Name, h.Insecure), h.Insecure} }

// find returns what is known of a registry, and its address.
func (s *state) find(name string) (Host, address) {
	for _, insecure := range []bool{false, true} {
		at := address{spelling(name, insecure), insecure}
		h, ok := s.hosts[at]
		// A name without a port is that of port 443, unless the config itself has it without one.
		if ok && (!insecure || hasPort(name) || !hasPort(h.Name)) {
			return h, at
		}
	}
	return s.others, address{spelling(name, s.others.Insecure), s.others.Insecure}
}

// spelling is the one spelling of the host of a URL: in lower case, an IP address in its shortest
// form, and the port as a number, left out if it is the default of HTTPS, or of HTTP if insecure.
func spelling(name string, insecure bool) string {
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
	if port != "" && port != defaultPort(insecure) {
		return net.JoinHostPort(host, port)
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func hasPort(name string) bool { return (&url.URL{Host: name}).Port() != "" }

func defaultPort(insecure bool) string {
	if insecure {
		return "80"
	}
	return "443"
}

// apiHost is where a registry is to be asked: Docker Hub's name is not its API's.
func apiHost(host string) string {
	if host == "docker.io" || host == "index.docker.io" {
		return "registry-1.docker.io"
	}
	return host
}
