// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// MaxRealm bounds the address of a token endpoint and the name of its service together.
const MaxRealm = 2 << 10

// ErrForeignRealm reports that a credential was not sent to a token endpoint, because that is not
// known to be the registry's own. AuthHosts may name its host.
var ErrForeignRealm = errors.New("its token realm is on another host or port")

// Realms says which token endpoints are a registry's own. A credential is sent to no other.
type Realms struct {
	Host      string   // that requests go to, in its canonical spelling
	API       string   // the path that requests go to; "": /v2
	AuthHosts []string // other hosts, by the config
	Insecure  bool     // plain HTTP
	// Plain reports whether the config says that another host is asked over plain HTTP. It may be nil.
	Plain func(host string) bool
}

// plain reports whether a host may be asked over plain HTTP.
func (r *Realms) plain(host string) bool {
	return r.Insecure && host == r.Host || r.Plain != nil && r.Plain(host)
}

// Owns reports whether a token endpoint is the registry's own: on its host, or on one that a known
// pair or the config names.
func (r *Realms) Owns(u *url.URL) bool {
	plain := u.Scheme == "http"
	host := network.CanonicalHost(u.Host, plain)
	return host == r.Host || slices.Contains(KnownRealms(r.Host), host) ||
		slices.ContainsFunc(r.AuthHosts, func(h string) bool {
			return network.CanonicalHost(h, plain) == host
		})
}

// Scope says for which repositories of a registry a challenge may be remembered.
type Scope int

// The scopes.
const (
	Repository Scope = iota // the one that has sent it
	Beside                  // those whose path has the same first part
	All
)

// Scope returns the scope of a challenge. Behind a host that routes by path, a team may have a
// server of its own, and may name a token endpoint there. A credential for another team's
// repository must not be sent to it. The server gets requests below /v2/, or below the path that
// the API has instead, where a token endpoint may be for one repository alone, and so may one whose
// path leads there when it is cleaned. A token endpoint elsewhere on the host is for repositories
// whose path has the same first part, and one on another host, which the config or knownRealms
// names, is for all.
func (r *Realms) Scope(c Challenge) Scope {
	if c.Basic {
		return All
	}
	u, err := url.Parse(c.Realm)
	switch {
	case err != nil || !r.Owns(u):
		return Repository
	case network.CanonicalHost(u.Host, u.Scheme == "http") != r.Host:
		return All
	case r.isBesideAPI(u):
		return Beside
	}
	return Repository
}

// isBesideAPI reports whether the address of a token endpoint is not below the API of the registry.
func (r *Realms) isBesideAPI(u *url.URL) bool {
	written := u.EscapedPath()
	clean := strings.TrimSuffix(written, "/") == strings.TrimSuffix(path.Clean(written), "/")
	below := func(api string) bool { return strings.HasPrefix(written+"/", api+"/") }
	return clean && !strings.Contains(written, "%") &&
		!below("/v2") && (r.API == "" || !below(strings.TrimSuffix(r.API, "/")))
}

// Realm returns the address of the challenge's token endpoint. A registry behind a proxy that
// terminates TLS may call its own endpoint by http; then it is asked by https. The error is
// failure.Unauthorized if the endpoint is not over TLS and the config does not call its host
// insecure. It is also an ErrForeignRealm if the endpoint is not the registry's own and there is a
// credential to send to it.
func (r *Realms) Realm(c Challenge, a authn.AuthConfig) (*url.URL, error) {
	u, err := url.Parse(c.Realm)
	if err != nil || u.Hostname() == "" || len(c.Realm)+len(c.Service) > MaxRealm {
		return nil, failure.Errorf(failure.Invalid, "its token realm is no valid address")
	}
	if !network.IsASCII(u.Host) {
		return nil, failure.Errorf(failure.Invalid, "its token realm is on %s",
			network.CutHost(u.Host))
	}
	if u.Scheme == "http" && !r.Insecure && network.CanonicalHost(u.Host, false) == r.Host {
		u.Scheme = "https"
	}
	own := r.Owns(u)
	u.Host = network.CanonicalHost(u.Host, u.Scheme == "http")
	switch host := network.CutHost(u.Host); {
	case host == "": // it was a dot
		return nil, failure.Errorf(failure.Invalid, "its token realm is no valid address")
	case u.User != nil:
		return nil, failure.Errorf(failure.Invalid, "its token realm %s holds credentials", host)
	case u.Scheme != "https" && (u.Scheme != "http" || !r.plain(u.Host)):
		return nil, failure.Errorf(failure.Unauthorized, "its token realm %s is not over TLS", host)
	case !own && a != (authn.AuthConfig{}):
		return nil, failure.Errorf(failure.Unauthorized, "%w, %s", ErrForeignRealm, host)
	}
	return u, nil
}
