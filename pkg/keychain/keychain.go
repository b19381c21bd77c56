// SPDX-License-Identifier: Apache-2.0

// Package keychain gives, for a pull identity and a reference, the credentials to try, in the kubelet's order.
//
// The rules of matching are the kubelet's own (k8s.io/kubernetes pkg/credentialprovider); what carries the result are
// go-containerregistry's authn types. The package sends nothing to a registry, and a secret that is missing, malformed or
// forbidden is no error: the rest is used, as the kubelet does.
package keychain

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Credential is one set of credentials to try at a registry.
type Credential struct {
	// Auth is what to present; the zero value is anonymous.
	Auth authn.AuthConfig
	// Shared says that it is not the tenant's own, but the nodes' or a cloud's: what a registry answers to it is not for
	// the tenant to read.
	Shared bool
	// Unread says that it is none, but stands for those of a secret that could not be read, as the
	// API server gave no answer, or for that of a cloud which gave none. What is refused without
	// them may go well another time.
	Unread bool
}

// MaxCredential is how many bytes the texts of a credential may have. Those of real ones have less
// than a third of it: Amazon's passwords, Google's keys and Azure's tokens. A larger one is left
// out, wherever it comes from: it would be in memory in many places at once.
const MaxCredential = 16 << 10

// Size is how many bytes the texts of a credential have.
func Size(a authn.AuthConfig) int {
	return len(a.Username) + len(a.Password) + len(a.Auth) +
		len(a.IdentityToken) + len(a.RegistryToken)
}

// Keychain gives the credentials to try for a reference, in order; anonymous is not among them, it always comes last.
// With fresh, what was remembered is read again: a registry has refused it. It never fails: what can't be read is counted
// and left out, and where another time it might be, one Credential is Unread. Implementations are safe for concurrent use.
type Keychain interface {
	Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential
}

// Func is a function as a Keychain.
type Func func(ctx context.Context, r ref.Reference, fresh bool) []Credential

// Credentials calls f.
func (f Func) Credentials(ctx context.Context, r ref.Reference, fresh bool) []Credential {
	return f(ctx, r, fresh)
}

// Anonymous is the Keychain without credentials.
type Anonymous struct{}

// Credentials gives none.
func (Anonymous) Credentials(context.Context, ref.Reference, bool) []Credential { return nil }
