// SPDX-License-Identifier: Apache-2.0

package auth

import (
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

// knownRealms are registries whose tokens come from another host of the same operator.
var knownRealms = map[string]string{
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// KnownRealm returns the host of a registry's token endpoint if it is known to be another one than
// the registry's own host, else "".
func KnownRealm(host string) string { return knownRealms[host] }

// Realms says which token endpoints are a registry's own. A credential is sent to no other.
type Realms struct {
	Host      string   // that requests go to, in its canonical spelling
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
	return host == r.Host || host == knownRealms[r.Host] ||
		slices.ContainsFunc(r.AuthHosts, func(h string) bool {
			return network.CanonicalHost(h, plain) == host
		})
}

// IsForAll reports whether a challenge is for the whole registry. Behind a host that routes by
// path, one repository may have a server of its own, which gets requests below /v2/. So a token
// endpoint there may be for that repository alone, and so may one whose path leads there when it is
// cleaned.
func (r *Realms) IsForAll(c Challenge) bool {
	if c.Basic {
		return true
	}
	u, err := url.Parse(c.Realm)
	if err != nil || !r.Owns(u) {
		return false
	}
	written := u.EscapedPath()
	clean := strings.TrimSuffix(written, "/") == strings.TrimSuffix(path.Clean(written), "/")
	return clean && !strings.Contains(written, "%") &&
		written != "/v2" && !strings.HasPrefix(written, "/v2/")
}

// Realm returns the address of the challenge's token endpoint. A registry behind a proxy that
// terminates TLS may call its own endpoint by http; then it is asked by https. The error is
// failure.Unauthorized if the endpoint is not asked because it is not over TLS and Plain has not
// its host, or because it is not the registry's own and there is a credential to send to it.
func (r *Realms) Realm(c Challenge, a authn.AuthConfig) (*url.URL, error) {
	u, err := url.Parse(c.Realm)
	if err != nil || u.Hostname() == "" || len(c.Realm)+len(c.Service) > MaxRealm {
		return nil, failure.Errorf(failure.Invalid, "its token realm is no valid address")
	}
	if u.Scheme == "http" && !r.Insecure && network.CanonicalHost(u.Host, false) == r.Host {
		u.Scheme = "https"
	}
	own := r.Owns(u)
	u.Host = network.CanonicalHost(u.Host, u.Scheme == "http")
	switch host := network.CutHost(u.Host); {
	case u.User != nil:
		return nil, failure.Errorf(failure.Invalid, "its token realm %s holds credentials", host)
	case u.Scheme != "https" && (u.Scheme != "http" || !r.plain(u.Host)):
		return nil, failure.Errorf(failure.Unauthorized, "its token realm %s is not over TLS", host)
	case !own && a != (authn.AuthConfig{}):
		return nil, failure.Errorf(failure.Unauthorized,
			"its token realm is on another host, %s; see authHosts", host)
	}
	return u, nil
}
