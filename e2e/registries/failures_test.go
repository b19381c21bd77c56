// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// TestFailuresBehindFronts has fronts that hide the answer to HEAD. The answer to GET then counts.
func TestFailuresBehindFronts(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, at *endpoint) {
		for i, e := range behind(t, at) {
			t.Run(fronts[i].name, func(t *testing.T) {
				c := e.client(t)
				c.wantError(t, "none", failure.NotFound, c.at+": 404 Not Found", c.credentials()...)
				if at.access.private() {
					c.wantError(t, "oci-index", failure.Unauthorized, c.at+": 401 Unauthorized")
					c.wantError(t, "oci-index", failure.Unauthorized, ": 401 Unauthorized", c.wrong())
				}
				c.want(t, "oci-index", r.digests["oci-index"])
			})
		}
	})
}

// TestForeignRealm has registries whose token realm is on a host that the config does not name. The
// realm gets no credential.
func TestForeignRealm(t *testing.T) {
	eachAccess(t, func(t *testing.T, _ *running, e *endpoint) {
		if e.realm == nil { // Gitea's is always where Gitea is asked
			return
		}
		e = behind(t, e)[1] // its realm is on another host
		realm := e.host.AuthHosts[len(e.host.AuthHosts)-1]
		e.host.AuthHosts = nil
		if e.realmHost != "" { // else the front passes requests on to the realm's host
			other, _ := env.seen.newRegistry() // so that a leak to the realm is found at the end
			env.seen.belongs(e.realmHost, other)
			defer env.seen.belongs(e.realmHost, e.owner)
		}
		c := e.client(t)
		c.wantError(t, "oci-index", failure.Unauthorized, c.at+": its token realm is on another host or port, "+realm+"; see authHosts", c.right())
		// The realm gets an anonymous request, which gives nothing away.
		wantAsked(t, "first lookup", e, asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}})
	}, bearer)
}

// TestKilled ends registries while connections to them are open.
func TestKilled(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		const tag = "oci-index"
		known, fresh := e.client(t), e.client(t)
		foreign := e.clientOf(t, &registry.Client{Network: network.Network{Roots: env.ca.Pool()}})
		behindFront := behind(t, e)[1].client(t)
		known.want(t, tag, r.digests[tag])
		e.kill()
		// The error depends on whether the open connection is used or a new one is tried.
		known.wantError(t, tag, failure.Unavailable, known.at+": ", known.credentials()...)
		fresh.wantError(t, tag, failure.Unavailable, fresh.at+": connection refused", fresh.credentials()...)
		fresh.wantError(t, tag, failure.Unavailable, fresh.at+": connection refused a moment ago; not asked again for ", fresh.credentials()...)
		foreign.wantError(t, tag, failure.Unavailable, foreign.at+": unreachable", foreign.credentials()...)
		behindFront.wantError(t, tag, failure.Unavailable, behindFront.at+": 502 Bad Gateway", behindFront.credentials()...)
	})
}
