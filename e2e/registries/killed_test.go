// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"testing"

	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
)

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
