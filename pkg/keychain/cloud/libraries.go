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

// libraries is the default Source. It uses k8schain for the hosts of Google and Azure. For Amazon,
// it calls the library that k8schain uses, because k8schain sends the account that the host names,
// and a tenant may have invented that.
//
// If a cloud does not answer, k8schain returns the anonymous credential. Here, that is an error for
// a host of the cloud.
type libraries struct{}

// Resolve requests a credential from the library of the cloud that owns the host. The context has
// no end, because a library may keep it for later tokens.
func (libraries) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if host := r.RegistryStr(); Amazon.Owns(host) {
		return amazonToken(host)
	}
	ctx := context.Background()
	auth, err := fromChain(ctx, r)
	switch {
	case err == nil && auth != authn.Anonymous:
		return auth, nil
	case Google.Owns(r.RegistryStr()):
		return googleToken()
	}
	return nil, errors.Join(errNone, err)
}

// fromChain asks k8schain. If the process has a Docker config with an entry for the host, k8schain
// would return that, which is not the identity of the machine. Then k8schain is not asked.
func fromChain(ctx context.Context, r authn.Resource) (authn.Authenticator, error) {
	own, err := authn.Resolve(ctx, authn.DefaultKeychain, r)
	if err != nil || own != authn.Anonymous {
		return nil, errors.Join(errDockerConfig, err)
	}
	chain, err := k8schain.NewNoClient(ctx)
	if err != nil {
		return nil, err
	}
	return authn.Resolve(ctx, chain, r)
}

var errDockerConfig = errors.New(
	"a Docker config in the environment has an entry for the host, or can't be read")

// googleToken requests a token from the metadata server. k8schain is not enough: its library checks
// once per process whether it runs in Google's cloud, and the metadata server may not have been up
// yet.
func googleToken() (authn.Authenticator, error) {
	token, err := googleauth.ComputeTokenSource("", googleScope).Token()
	if err != nil {
		return nil, errors.Join(errNone, err)
	}
	return &authn.Basic{Username: "_token", Password: token.AccessToken}, nil
}

// googleScope is the OAuth scope of a token for Google's registries.
const googleScope = "https://www.googleapis.com/auth/cloud-platform"

// amazonToken requests a token for the host's region. It does not send the account of the host,
// which a tenant may have invented. The token is valid for every registry of the region that the
// identity may read (ECR's GetAuthorizationToken, where registryIds is deprecated).
func amazonToken(host string) (authn.Authenticator, error) {
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
