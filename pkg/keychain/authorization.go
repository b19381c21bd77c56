// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Authorization returns the credential that one of go-containerregistry's keychains has for r. It
// is zero if there is none.
func Authorization(
	ctx context.Context, k authn.Keychain, r ref.Reference,
) (authn.AuthConfig, error) {
	host := r.Host()
	if host == hubHost {
		host = hubIndex // that is what these keychains expect
	}
	authenticator, err := authn.Resolve(ctx, k, resource{host, host + "/" + r.Path()})
	if err != nil {
		return authn.AuthConfig{}, err
	}
	auth, err := authn.Authorization(ctx, authenticator)
	if err != nil || auth == nil {
		return authn.AuthConfig{}, err
	}
	return *auth, nil
}

// resource implements authn.Resource.
type resource struct{ host, repository string }

func (r resource) String() string      { return r.repository }
func (r resource) RegistryStr() string { return r.host }
