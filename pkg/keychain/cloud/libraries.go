// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"

	"github.com/awslabs/amazon-ecr-credential-helper/ecr-login/api"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/k8schain"
	googleauth "golang.org/x/oauth2/google"
)

// libraries asks k8schain for the hosts of Google and Azure, and Amazon's library, on which k8schain
// stands, by itself: k8schain names the account in the host, which a tenant may have made up.
//
// k8schain gives nobody's credential where a cloud gave no answer. For a host that is the cloud's own
// that is told apart here: it is an error.
type libraries struct{}

// errNoAnswer reports that a cloud gave no credential for a host of its own.
var errNoAnswer = errors.New("the cloud gave no credential")

// Resolve asks without an end.
func (l libraries) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return l.ResolveContext(context.Background(), r)
}

// ResolveContext asks the library of the cloud that owns the host.
func (libraries) ResolveContext(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	if host := r.RegistryStr(); Amazon.Owns(host) {
		return askAmazon(host)
	}
	chain, err := k8schain.NewNoClient(ctx)
	if err != nil {
		return nil, err
	}
	auth, err := authn.Resolve(ctx, chain, r)
	switch {
	case err == nil && auth != authn.Anonymous:
		return auth, nil
	case Google.Owns(r.RegistryStr()):
		return askGoogle()
	}
	return nil, errors.Join(errNoAnswer, err)
}

// askGoogle asks the metadata server. k8schain's library remembers for the life of the process whether
// it runs in Google's cloud, also if the metadata server was not up yet when it looked.
func askGoogle() (authn.Authenticator, error) {
	token, err := googleauth.ComputeTokenSource("", googleScope).Token()
	if err != nil {
		return nil, errors.Join(errNoAnswer, err)
	}
	return &authn.Basic{Username: "_token", Password: token.AccessToken}, nil
}

// googleScope is what a token for Google's registries has to be good for.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// askAmazon asks for a token of the host's region. It does not name the account of the host, which
// a tenant may have made up: the token is good for each registry of the region that the identity
// may read (ECR's GetAuthorizationToken, where registryIds is deprecated).
func askAmazon(host string) (authn.Authenticator, error) {
	registry, err := api.ExtractRegistry(host)
	if err != nil {
		return nil, err
	}
	factory := api.DefaultClientFactory{}
	client := factory.NewClientFromRegion(registry.Region)
	if registry.FIPS {
		if client, err = factory.NewClientWithFipsEndpoint(registry.Region); err != nil {
			return nil, err
		}
	}
	var auth *api.Auth
	if registry.Service == api.ServiceECRPublic {
		auth, err = client.GetCredentials(host)
	} else {
		auth, err = client.GetCredentialsByRegistryID("")
	}
	if err != nil {
		return nil, err
	}
	return &authn.Basic{Username: auth.Username, Password: auth.Password}, nil
}
