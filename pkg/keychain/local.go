// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Local gives what the user of a command line has logged in with: the Docker config, podman's auth file, and the
// credential helpers that they name, which it runs. It is not for a server. Report, if any, is told when a helper fails:
// the image may be public, so that a look-up goes on without it.
type Local struct {
	Report func(error)
}

// Credentials asks go-containerregistry's default keychain. It may run a program, and waits for it.
func (l Local) Credentials(ctx context.Context, r ref.Reference, _ bool) []Credential {
	auth, err := ask(ctx, authn.DefaultKeychain, Resource(r))
	if err != nil && l.Report != nil {
		l.Report(err)
	}
	if auth == (authn.AuthConfig{}) {
		return nil
	}
	return []Credential{{Auth: auth}}
}

func ask(ctx context.Context, k authn.Keychain, r authn.Resource) (authn.AuthConfig, error) {
	authenticator, err := authn.Resolve(ctx, k, r)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	auth, err := authn.Authorization(ctx, authenticator)
	if err != nil || auth == nil {
		return authn.AuthConfig{}, err
	}
	return *auth, nil
}

// Resource is r's repository as go-containerregistry's keychains want it: Docker Hub's host is index.docker.io there.
func Resource(r ref.Reference) authn.Resource {
	host := r.Host()
	if host == hubHost {
		host = hubIndex
	}
	return resource{host: host, repository: host + "/" + r.Path()}
}

type resource struct{ host, repository string }

func (r resource) String() string      { return r.repository }
func (r resource) RegistryStr() string { return r.host }
