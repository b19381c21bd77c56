// SPDX-License-Identifier: Apache-2.0

package registry_test

import (
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// TestNotFoundWithSharedLogin checks that a login that all namespaces share does not show that
// there is no image, unless the attempt without a login shows it too: the login may not be allowed
// to see the image.
func TestNotFoundWithSharedLogin(t *testing.T) {
	for anonymous, want := range map[int]failure.Class{
		http.StatusNotFound:           failure.NotFound,
		http.StatusUnauthorized:       failure.Unauthorized,
		http.StatusBadGateway:         failure.Unavailable,
		http.StatusServiceUnavailable: failure.Unavailable,
		http.StatusTooManyRequests:    failure.Unavailable,
	} {
		var known atomic.Bool // the client has had the challenge
		host, c := plain(t, func(w http.ResponseWriter, r *http.Request) {
			switch _, _, login := r.BasicAuth(); {
			case login:
				known.Store(true)
				w.WriteHeader(http.StatusNotFound)
			case known.Load() && anonymous != http.StatusUnauthorized:
				w.WriteHeader(anonymous)
			default:
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
			}
		})
		c.TellShared = true
		_, err := c.Digest(t.Context(), registry.Request{
			Ref: ref.MustParse(host + "/a:1"),
			Credentials: []keychain.Credential{{
				Auth: authn.AuthConfig{Username: "u", Password: "p"}, Shared: true,
			}},
		})
		if got := failure.Of(err); !known.Load() || got != want {
			t.Errorf("%d without a login: %v is %s, login sent: %t; want %s", anonymous, err, got,
				known.Load(), want)
		}
	}
}
