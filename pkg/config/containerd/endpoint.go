// SPDX-License-Identifier: Apache-2.0

package containerd

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/tagpin/tagpin/pkg/config"
)

// endpoint is a host that containerd asks for the images of a registry.
type endpoint struct {
	address      string // as it is written
	overridePath bool   // the path in the address is the whole path of the API
	server       bool   // it is asked last, in place of the registry itself
	capabilities []string
	rewrites     []config.Rewrite

	ca, cert, key string   // files
	left          []string // sentences about what can't be translated

	// These are set by parse.
	host  string // as in a reference
	plain bool   // plain HTTP
	api   string // the path of the API; "" if it is the root
}

// can reports whether the endpoint has a capability. Without any, it has all.
func (e *endpoint) can(capability string) bool {
	return len(e.capabilities) == 0 || slices.ContainsFunc(e.capabilities, func(c string) bool {
		return strings.EqualFold(c, capability)
	})
}

// parse parses the address, by the rules of containerd (core/remotes/docker/config/hosts.go,
// parseHostConfig). It returns what is wrong, or "".
func (e *endpoint) parse() (problem string) {
	text := e.address
	if !strings.HasPrefix(text, "http") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "it is not the address of a host"
	}
	e.host, e.plain = u.Host, u.Scheme == "http"
	switch {
	case e.host == "index.docker.io":
		e.host = hub
	case !isHost(e.host) && u.Port() == "": // without a dot, it would be a path in a reference
		e.host += map[bool]string{false: ":443", true: ":80"}[e.plain]
	}
	if !isHost(e.host) {
		return "it is not a registry host as in an image reference"
	}
	if e.api = path.Clean("/" + u.Path); e.api == "/" {
		e.api = ""
	}
	if !e.overridePath && !strings.HasSuffix(e.api, "/v2") {
		e.api += "/v2"
	}
	return ""
}

// noMirror returns why the endpoint is not one more mirror, or "".
func (e *endpoint) noMirror(before []mirror) (problem string) {
	m := e.mirror()
	switch {
	case !e.can("pull"):
		return "it is not for pulls"
	case slices.ContainsFunc(before, func(b mirror) bool { return b.Host == m.Host }):
		return "it is listed twice"
	}
	return ""
}

// mirror returns the endpoint as a mirror.
func (e *endpoint) mirror() mirror {
	m := mirror{Host: e.host, Resolve: e.can("resolve"), Rewrites: e.rewrites}
	if e.api != "/v2" {
		m.Host, m.OverridePath = e.host+e.api, true
	}
	return m
}

// certificates takes the first file of each kind, and notes that there are more.
func (e *endpoint) certificates(cas []string, pairs [][2]string) {
	if len(cas) > 0 {
		e.ca = cas[0]
	}
	if len(cas) > 1 {
		e.left = append(e.left, "tagpin reads one file of CAs: put all of them into "+e.ca)
	}
	if len(pairs) > 0 {
		e.cert, e.key = pairs[0][0], pairs[0][1]
	}
	if len(pairs) > 1 {
		e.left = append(e.left, "tagpin shows one client certificate, that of "+e.cert)
	}
}

// skipsVerification notes that the field by which certificates are not verified is left out.
func (e *endpoint) skipsVerification(field string) {
	e.left = append(e.left, "tagpin always verifies certificates, so that "+field+
		" is left out: set caFile to a file with the host's CA")
}
