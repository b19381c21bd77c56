// SPDX-License-Identifier: Apache-2.0

// Package local returns the logins of a person's own machine: what docker login, podman login and
// their relatives have stored in files, and what the credential helpers know that these files name.
//
//	k := &local.Keychain{Sources: local.Sources(environment), Report: complain}
//	defer k.Close()
//
// The files are read in containers' order (containers-auth.json(5)), and the first one that has a
// login for an image decides. Within a file:
//
//  1. A helper in credHelpers for the host. Then the file's entries for that host don't count.
//  2. The entry of the repository, and of each path above it: quay.io/org/app, then quay.io/org. A
//     key is the whole repository or path, so a login for quay.io/orga is not sent for quay.io/org.
//  3. The helper in credsStore, which is Docker's, unless credHelpers has the host with an empty
//     name.
//  4. The entry of the host, also in the older spellings such as https://quay.io/v1/.
//
// The package runs the helpers, so it must not be used in a server.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

// DefaultHelperTimeout is long enough for a person to unlock a keyring that a helper asks for.
const DefaultHelperTimeout = 30 * time.Second

// renewAfter is how old a login must be at least to be read again when a registry has refused it.
// What was read a moment ago is the same now, and a registry may refuse many images.
const renewAfter = time.Minute

// Keychain implements keychain.Keychain. The fields must not change after the first call. It is
// safe for concurrent use.
type Keychain struct {
	// Sources are the files, in the order in which they are asked.
	Sources []Source
	// HelperTimeout is how long a helper may take for one host. Default: DefaultHelperTimeout.
	HelperTimeout time.Duration
	// Report is called with what is wrong with a file or a helper, once for each text. The lookup goes
	// on without that login, because the image may be public. If nil, errors are dropped.
	Report func(error)

	once    sync.Once
	answers cache.Memory[question, answer]
	asking  cache.Flights[question, answer]

	mu       sync.Mutex
	files    []*file // those that could be read
	read     time.Time
	reported map[string]bool
}

// question is what a helper is asked.
type question struct {
	helper string // the program without docker-credential-
	server string // as the helper knows the host
	file   string // that names the helper
}

// answer is what a helper has said. It is remembered even if the helper has failed.
type answer struct {
	auth authn.AuthConfig
	err  error
	at   time.Time
}

// Credentials returns the login for an image, or nil. It may run a helper, and does not wait for it
// after ctx has ended.
func (k *Keychain) Credentials(
	ctx context.Context, r ref.Reference, fresh bool,
) []keychain.Credential {
	for _, f := range k.current(fresh) {
		auth, err := k.fromFile(ctx, f, r, fresh)
		k.report(err)
		if auth != (authn.AuthConfig{}) {
			return []keychain.Credential{{Auth: auth}}
		}
	}
	return nil
}

// Close stops the helpers that still run.
func (k *Keychain) Close() { k.asking.Close() }

// current returns the files. If fresh is true and they are not new, it reads them again.
func (k *Keychain) current(fresh bool) []*file {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.read.IsZero() && (!fresh || time.Since(k.read) < renewAfter) {
		return k.files
	}
	k.files, k.read = nil, time.Now()
	for _, s := range k.Sources {
		f, err := s.parse()
		k.reportLocked(err)
		if f != nil {
			k.files = append(k.files, f)
		}
	}
	return k.files
}

// fromFile returns the login that a file has for an image. It is zero if there is none.
func (k *Keychain) fromFile(
	ctx context.Context, f *file, r ref.Reference, fresh bool,
) (authn.AuthConfig, error) {
	if q, ok := f.helper(r.Host()); ok && q.helper != "" {
		return k.ask(ctx, q, fresh)
	}
	auth, found, err := f.below(r)
	if found || err != nil {
		return auth, err
	}
	var failed error
	if q, ok := f.store(r.Host()); ok {
		auth, failed = k.ask(ctx, q, fresh)
	}
	if auth != (authn.AuthConfig{}) {
		return auth, nil
	}
	auth, err = f.ofHost(r.Host())
	return auth, errors.Join(failed, err)
}

// ask asks a helper, or returns what it has said before. Lookups that need the answer at the same
// time share it.
func (k *Keychain) ask(ctx context.Context, q question, fresh bool) (authn.AuthConfig, error) {
	k.once.Do(func() {
		k.asking.Timeout = cmp.Or(k.HelperTimeout, DefaultHelperTimeout)
		k.asking.Doing = "running a credential helper"
	})
	if known, ok := k.known(q, fresh); ok {
		return known.auth, known.err
	}
	a, err := k.asking.Do(ctx, q, func(ctx context.Context) (answer, error) {
		if known, ok := k.known(q, fresh); ok { // another lookup has just got it
			return known, nil
		}
		auth, err := run(ctx, q)
		if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = q.failed("it gave no answer for %v and was stopped", k.asking.Timeout)
		}
		a := answer{auth, err, time.Now()}
		k.answers.Put(q, a, 0)
		return a, nil
	})
	switch {
	case err == nil:
		return a.auth, a.err
	case errors.Is(err, context.DeadlineExceeded):
		return authn.AuthConfig{}, q.failed("it gave no answer in the time that was left")
	case errors.Is(err, context.Canceled), errors.Is(err, cache.ErrClosed):
		return authn.AuthConfig{}, nil // the command was interrupted
	}
	return authn.AuthConfig{}, fmt.Errorf("%s: %w", q.program(), err)
}

func (k *Keychain) known(q question, fresh bool) (answer, bool) {
	known, ok := k.answers.Get(q)
	return known, ok && (!fresh || time.Since(known.at) < renewAfter)
}

func (k *Keychain) report(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reportLocked(err)
}

// reportLocked reports an error, or each one of joined errors, unless it was reported before. A
// helper that fails in the same way for several hosts is reported for the first one.
func (k *Keychain) reportLocked(err error) {
	if k.Report == nil {
		return
	}
	for _, e := range failure.Split(err) {
		text := e.Error()
		if failed := new(helperError); errors.As(e, &failed) {
			text = failed.program() + failed.reason
		}
		if k.reported == nil {
			k.reported = map[string]bool{}
		}
		if !k.reported[text] {
			k.reported[text] = true
			k.Report(e)
		}
	}
}
