// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"context"
	"errors"
	"fmt"

	"github.com/awslabs/amazon-ecr-credential-helper/ecr-login/api"
	"github.com/gaganhr94/docker-credential-acr/pkg/credhelper"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/google"
	googleauth "golang.org/x/oauth2/google"
)

// libraries asks the clouds' own libraries, each for the hosts that its cloud owns, and nothing
// else: no Docker config of the process's user, and no helper programs. Unlike k8schain it says
// when a cloud gave no answer.
type libraries struct{}

// Resolve asks without an end.
func (l libraries) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return l.ResolveContext(context.Background(), r)
}

// ResolveContext asks the library of the cloud that owns the host.
func (libraries) ResolveContext(
	ctx context.Context, r authn.Resource,
) (authn.Authenticator, error) {
	host := r.RegistryStr()
	switch {
	case Google.Owns(host):
		return askGoogle(ctx)
	case Amazon.Owns(host):
		return askAmazon(host)
	case Azure.Owns(host):
		user, password, err := credhelper.NewACRCredentialsHelper().Get(host)
		return &authn.Basic{Username: user, Password: password}, err
	}
	return nil, fmt.Errorf("%s is no cloud's own host", host)
}

// askGoogle finds the default credentials. That library remembers for the life of the process
// whether it runs in Google's cloud, also if the metadata server was not up yet when it looked: so
// the metadata server is asked anyway.
func askGoogle(ctx context.Context) (authn.Authenticator, error) {
	auth, err := google.NewEnvAuthenticator(ctx)
	if err == nil {
		return auth, nil
	}
	token, errMetadata := googleauth.ComputeTokenSource("", googleScope).Token()
	if errMetadata != nil {
		return nil, errors.Join(err, errMetadata)
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
