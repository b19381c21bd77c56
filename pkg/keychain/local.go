// SPDX-License-Identifier: Apache-2.0

package keychain

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/ref"
)

// Local gives what the user of a command line has logged in with: the Docker config, podman's auth file, and the
// credential helpers that they name, which it runs. It is not for a server. Safe for concurrent use.
type Local struct {
	// Report is told when a helper fails, once of each failure: the image may be public, so that a look-up goes on without
	// it. Default: nobody is.
	Report func(error)

	mu   sync.Mutex
	told map[string]bool
}

// Credentials asks go-containerregistry's default keychain. It may run a program, and waits for it no longer than ctx.
func (l *Local) Credentials(ctx context.Context, r ref.Reference, _ bool) []Credential {
	type answer struct {
		auth authn.AuthConfig
		err  error
	}
	answers := make(chan answer, 1)
	go func() { // a helper that hangs can't be ended
		auth, err := ask(ctx, authn.DefaultKeychain, Resource(r))
		answers <- answer{auth, err}
	}()
	var got answer
	select {
	case got = <-answers:
	case <-ctx.Done():
		got.err = fmt.Errorf("credentials for %s: %w", r.Host(), context.Cause(ctx))
	}
	l.report(got.err)
	if got.auth == (authn.AuthConfig{}) {
		return nil
	}
	return []Credential{{Auth: got.auth}}
}

func (l *Local) report(err error) {
	if err == nil || l.Report == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told[err.Error()] {
		return
	}
	if l.told == nil {
		l.told = map[string]bool{}
	}
	l.told[err.Error()] = true
	l.Report(err)
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
