// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// Request asks for the digest of one reference.
type Request struct {
	// Ref is the reference; it has no digest.
	Ref ref.Reference
	// Keychain gives the credentials to try. Nil: anonymous alone.
	Keychain keychain.Keychain
	// Credentials are the candidates, in order; the Credentials layer fills them from Keychain.
	Credentials []keychain.Credential
	// Namespace is who asks: registries are shared fairly among namespaces.
	Namespace string
	// Sender is the address that the request came from, which can't be made up as Namespace can.
	Sender string
	// Fresh asks for the registry's own answer to a question that is sent after now, so that what was
	// just pushed is what is deployed. Without it, an answer may be remembered.
	Fresh bool
	// First is Fresh for a digest alone: a failure may be remembered. It is for the first pod of a
	// revision, as all others will run what it gets.
	First bool

	// begin is called when the turn of the look-up has come, before anything is sent. Its error ends
	// the look-up: another namespace's turn came first. Nil: there is nobody to ask.
	begin func() error
}

// Begin must be called by a Resolver that asks a registry when its turn has come, before it sends
// anything, and its error returned: then the same look-up was begun for another namespace. It may be
// called again.
func (r *Request) Begin() error {
	if r.begin == nil {
		return nil
	}
	return r.begin()
}

// Result is a digest, and where it came from. Beside an error there is no digest.
type Result struct {
	Digest digest.Digest // always sha256
	Cached bool          // remembered, be it a failure: the registry was not asked
	Stale  bool          // remembered for longer than usual, because the registry can't be reached
	// Sibling is true if the other pods of the revision run the digest: the registry was not asked.
	Sibling bool
}

// Resolver answers requests. Its errors are in the classes of package failure. Implementations are safe for concurrent use and obey the context.
type Resolver interface {
	Resolve(ctx context.Context, req Request) (Result, error)
}

// Func is a function as a Resolver.
type Func func(ctx context.Context, req Request) (Result, error)

// Resolve calls f.
func (f Func) Resolve(ctx context.Context, req Request) (Result, error) { return f(ctx, req) }
