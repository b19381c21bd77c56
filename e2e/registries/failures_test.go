// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

// TestFailuresBehindFronts has fronts that hide what HEAD would have said: what GET says counts.
func TestFailuresBehindFronts(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		for _, a := range []access{plain, basic, bearer} {
			for i, e := range behind(t, r.at[a]) {
				t.Run(string(a)+"/"+fronts[i].name, func(t *testing.T) {
					c := e.client(t)
					c.wantError(t, "none", resolve.ErrNotFound, c.at+": 404 Not Found", c.credentials()...)
					if a.private() {
						c.wantError(t, "oci-index", resolve.ErrUnauthorized, c.at+": 401 Unauthorized")
						c.wantError(t, "oci-index", resolve.ErrUnauthorized, ": 401 Unauthorized", wrong())
					}
					c.want(t, "oci-index", r.digests["oci-index"])
				})
			}
		}
	})
}

// TestForeignRealm meets registries whose token realm is on a host that the config does not name: it gets no credential.
func TestForeignRealm(t *testing.T) {
	eachStore(t, func(t *testing.T, r *running) {
		e := behind(t, r.at[bearer])[1] // whose realm stands elsewhere
		realm := e.host.AuthHosts[len(e.host.AuthHosts)-1]
		e.host.AuthHosts = nil
		c := e.client(t)
		c.wantError(t, "oci-index", resolve.ErrUnauthorized, c.at+": its token realm is on another host, "+realm+"; see authHosts", right())
		// Then the realm is asked by nobody: there is nothing to give away.
		wantAsked(t, "cold", e, asked{Manifests: []string{"HEAD 401", "HEAD 401"}, Tokens: []string{"200"}})
	})
}

// TestKilled kills registries while connections to them are open: docker-registry by SIGKILL, those of this process by
// closing what they have open.
func TestKilled(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, e *endpoint) {
		const tag = "oci-index"
		known, fresh := e.client(t), e.client(t)
		foreign := e.clientOf(t, &registry.Client{RootCAs: env.ca.Pool()})
		behindNginx := behind(t, e)[1].client(t)
		known.want(t, tag, r.digests[tag])
		e.kill()
		// On a connection of before it may be that, too, which breaks.
		known.wantError(t, tag, resolve.ErrUnavailable, known.at+": ", known.credentials()...)
		fresh.wantError(t, tag, resolve.ErrUnavailable, fresh.at+": connection refused", fresh.credentials()...)
		fresh.wantError(t, tag, resolve.ErrUnavailable, fresh.at+": connection refused a moment ago; not asked again for ", fresh.credentials()...)
		foreign.wantError(t, tag, resolve.ErrUnavailable, foreign.at+": unreachable", foreign.credentials()...)
		behindNginx.wantError(t, tag, resolve.ErrUnavailable, behindNginx.at+": 502 Bad Gateway", behindNginx.credentials()...)
	})
}
