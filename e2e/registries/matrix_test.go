// SPDX-License-Identifier: Apache-2.0

package registries

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMatrix looks up each kind of content at each registry, access and front. The result is the
// digest that was pushed, and no request is superfluous.
func TestMatrix(t *testing.T) {
	eachAccess(t, func(t *testing.T, r *running, at *endpoint) {
		for i, e := range behind(t, at) {
			t.Run(fronts[i].name, func(t *testing.T) {
				for tag, want := range r.digests {
					t.Run(tag, func(t *testing.T) {
						c := e.client(t)
						c.want(t, tag, want)
						wantAsked(t, "first lookup", e, fronts[i].first(e.access))
						c.want(t, tag, want)
						wantAsked(t, "second lookup", e, asked{Manifests: fronts[i].again})
					})
				}
			})
		}
	})
}

// wantAsked compares the requests since the last call.
func wantAsked(t testing.TB, what string, e *endpoint, want asked) {
	t.Helper()
	if diff := cmp.Diff(want, e.asked()); diff != "" {
		t.Errorf("%s: requests, -want +got:\n%s", what, diff)
	}
}
