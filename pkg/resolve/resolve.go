// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Request asks for the digest of one reference.
type Request struct {
	// Ref is the reference. Resolve takes none with a digest; Mirrors.Manifest, Served, Blob, Tags and
	// Referrers may.
	Ref ref.Reference
	// Route is how the registry is asked if it is a mirror. The Mirrors layer sets it.
	Route registry.Route
	// Keychain returns the credentials to try. If nil, only anonymous access is tried.
	Keychain keychain.Keychain
	// Credentials are the credentials to try, in order. The Credentials layer sets them.
	Credentials []keychain.Credential
	// Namespace is whom the request is for. Namespaces share registries fairly.
	Namespace string
	// Sender is the address that has sent the request. Unlike Namespace, it can't be made up.
	Sender string
	// Fresh is true if the registry has to be asked after now, so that what was just pushed is what is
	// deployed. Otherwise an answer may be remembered.
	Fresh bool
	// First is true if a failure may be remembered, but a digest has to be asked for as if Fresh were
	// true. It is for the first pod of a revision, because all others will run what it gets.
	First bool
	// Since is not zero if First is true, and the controller did not wait for the answer when it tried
	// before: a digest will do that was asked for after this time.
	Since time.Time

	begin  func() error
	onWait func() (over func(goesOn bool)) // as in registry.Request
	// renewed is true if the credentials were read again after a refusal. Then a failure that is
	// remembered, or a lookup that has begun, may be of the former ones with the same Source.
	renewed bool
}

// Begin must be called by a Resolver that asks a registry, before it sends anything, when it no
// longer has to wait. If Begin returns an error, the Resolver must return that error: the lookup
// was begun for another namespace, or nobody waits for it any more. It may be called several times.
func (r *Request) Begin() error {
	if r.begin == nil {
		return nil
	}
	return r.begin()
}

// Result is a digest and where it came from. If there is an error, there is no digest.
type Result struct {
	Digest digest.Digest // always sha256
	Cached bool          // the registry was not asked for this answer, which may be a failure
	Stale  bool          // the digest is older than usual, because the registry is unavailable
	// Sibling is true if the digest is what the other pods of the revision run. Then the registry was
	// not asked.
	Sibling bool
}

// Resolver answers requests. Its errors have a class of package failure. Implementations are safe
// for concurrent use and obey the context.
type Resolver interface {
	Resolve(ctx context.Context, req Request) (Result, error)
}

// Func is a function that implements Resolver.
type Func func(ctx context.Context, req Request) (Result, error)

// Resolve calls f.
func (f Func) Resolve(ctx context.Context, req Request) (Result, error) { return f(ctx, req) }

// Registry is a Resolver that asks the registry. It remembers no answer.
type Registry struct {
	Client *registry.Client
}

// Resolve tries the Credentials of the request.
func (r *Registry) Resolve(ctx context.Context, req Request) (Result, error) {
	d, err := r.Client.Digest(ctx, req.registry())
	return Result{Digest: d}, err
}

// registry returns the request as one to a registry.
func (r *Request) registry() registry.Request {
	return registry.Request{
		Ref: r.Ref, Route: r.Route, Credentials: r.Credentials,
		Namespace: r.Namespace, Sender: r.Sender, Begin: r.Begin, OnWait: r.onWait,
	}
}

// Late returns the error of a lookup whose context has ended. The text is the cause of the end, if
// the caller has set one.
func Late(ctx context.Context, r ref.Reference) error {
	why, kind := context.Cause(ctx), registry.ErrNoAnswer
	switch {
	case errors.Is(why, context.DeadlineExceeded), errors.Is(why, context.Canceled):
		why = registry.ErrNoAnswer
	case errors.Is(why, ErrImpatient):
		kind = ErrImpatient
	}
	return noAnswer(fmt.Sprintf("%s: %v", r.Host(), why), kind)
}

// ErrImpatient is the cause of a context that ends before its time because a controller must not
// wait any longer (see pin.Patience). It says nothing about the registry.
var ErrImpatient = errors.New("controllers have waited long enough")

// noAnswer returns an error that says nothing about the registry. kind is registry.ErrNoAnswer,
// registry.ErrOfNamespace or ErrImpatient.
func noAnswer(text string, kind error) error {
	return &markedError{text, []error{failure.Unavailable, kind}}
}

// markedError is an error with a text of its own that also matches other errors: its class, and the
// marks that tell a layer above how to treat it.
type markedError struct {
	text string
	is   []error // the errors that errors.Is and errors.As match
}

// Error returns the text.
func (e *markedError) Error() string { return e.text }

// Unwrap returns the errors that it matches.
func (e *markedError) Unwrap() []error { return e.is }

const (
	// minSilence is the shortest silence of a registry that counts as an outage. A registry that
	// answers at all nearly always does so sooner.
	minSilence = time.Second
	// longSilence is the shortest one that counts for lookups that did not wait for long: as long as
	// a request may take by default.
	longSilence = 5 * time.Second
)

// isOutage reports whether a registry is unavailable, so that an old digest may be used (rule 8):
// err says so, or err says nothing about the registry, but the registry was silent for most of the
// time since the lookup began. An ErrOutage says so for its namespace.
func isOutage(err error, began time.Time, silence time.Duration) bool {
	switch {
	case !errors.Is(err, failure.Unavailable):
		return false
	case errors.Is(err, registry.ErrOutage):
		return true
	case errors.Is(err, ErrImpatient):
		return silence >= longSilence
	case errors.Is(err, registry.ErrNoAnswer), errors.Is(err, registry.ErrOfNamespace):
		return silence >= max(minSilence, time.Since(began)/2)
	}
	return true
}
