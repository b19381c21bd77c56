// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Local returns the credentials of the user of a command line: those in the Docker config and in
// podman's auth file, and those of the credential helpers that these files name. It runs the
// helpers, so it must not be used in a server. It is safe for concurrent use.
type Local struct {
	// Report is called when a helper fails, once for each error text. The lookup goes on without the
	// credential, because the image may be public. If nil, errors are dropped.
	Report func(error)

	mu       sync.Mutex
	reported map[string]bool // by error text
}

// Credentials returns the credential of go-containerregistry's default keychain. It may run a
// helper, and does not wait for it after ctx has ended.
func (l *Local) Credentials(ctx context.Context, r ref.Reference, _ bool) []Credential {
	type result struct {
		auth authn.AuthConfig
		err  error
	}
	results := make(chan result, 1)
	go func() { // on its own goroutine, because a helper that hangs can't be stopped
		auth, err := Authorization(ctx, authn.DefaultKeychain, r)
		results <- result{auth, err}
	}()
	var got result
	select {
	case got = <-results:
	case <-ctx.Done():
		got.err = fmt.Errorf("credentials for %s: %w", r.Host(), context.Cause(ctx))
	}
	l.report(got.err)
	if got.auth == (authn.AuthConfig{}) {
		return nil
	}
	return []Credential{{Auth: got.auth}}
}

// report reports an error unless one with the same text was reported before.
func (l *Local) report(err error) {
	if err == nil || l.Report == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reported[err.Error()] {
		return
	}
	if l.reported == nil {
		l.reported = map[string]bool{}
	}
	l.reported[err.Error()] = true
	l.Report(err)
}

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
