// SPDX-License-Identifier: Apache-2.0

// Package keychain returns the credentials to try at a registry for a reference, in the kubelet's
// order.
//
// An entry of a Docker config or of a pull secret matches a reference by the kubelet's own rules
// (k8s.io/kubernetes pkg/credentialprovider). The results are go-containerregistry's authn types.
// The package sends nothing to a registry. A secret that is missing, malformed or forbidden is not
// an error. The other secrets are used, as the kubelet does.
package keychain

import (
	"context"
	"slices"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Credential is one set of credentials to try at a registry.
type Credential struct {
	// Auth is the user name with the password, or the token. The zero value is anonymous.
	Auth authn.AuthConfig
	// Shared is true if the credential is not the tenant's own, but belongs to the nodes or to a
	// cloud. The tenant must not learn what a registry answers to it.
	Shared bool
	// Unread is true if this is not a credential but a mark: a secret could not be read because the
	// API server did not answer, or a cloud returned no credential. A request that is refused without
	// that credential may succeed later.
	Unread bool
	// Source identifies a shared credential that is often renewed, such as a cloud's, by where it
	// comes from. What was remembered with one of them counts for the next one.
	Source string
}

// MaxCredential is the maximum size of a credential, as Size returns it. Amazon's passwords,
// Google's keys and Azure's tokens have less than a third of it. Larger ones are left out, because
// a credential is in memory in many places at the same time.
const MaxCredential = 16 << 10

// Size returns the number of bytes in the texts of a credential.
func Size(a authn.AuthConfig) int {
	return len(a.Username) + len(a.Password) + len(a.Auth) +
		len(a.IdentityToken) + len(a.RegistryToken)
}

// Keychain returns credentials. Implementations are safe for concurrent use.
type Keychain interface {
	// Credentials returns the credentials to try for a reference, in order. Anonymous access is not
	// among them, because it is always tried last. If fresh is true, a registry has refused a
	// credential, and those that are remembered are read again. A credential that can't be read is
	// counted and left out. If it may be readable later, one Credential is marked as Unread.
	Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential
}

// Func is a function that implements Keychain.
type Func func(ctx context.Context, r ref.Reference, fresh bool) []Credential

// Credentials calls f.
func (f Func) Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential {
	return f(ctx, r, fresh)
}

// Chain returns the credentials of several keychains. The zero value has none.
type Chain []Keychain

// Credentials returns the credentials of each keychain, in the order of the keychains.
func (c Chain) Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential {
	var all []Credential
	for _, k := range c {
		all = slices.Concat(all, k.Credentials(ctx, r, fresh)) // a keychain may keep its slice
	}
	return all
}
