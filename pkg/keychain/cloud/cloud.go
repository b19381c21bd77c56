// SPDX-License-Identifier: Apache-2.0

// Package cloud returns the credentials that the machine on which tagpin runs has at the registries
// of its cloud, as a node's credential provider does.
//
// A cloud is only asked if it is enabled, and only for hosts of its own, which are matched by
// anchored patterns. A credential is requested once for everything that it is valid for, and
// remembered: Google's for all of its registries, Amazon's for a region, and Azure's for one
// registry.
//
// Tenants choose the hosts, and can invent any number of regions and registries. The clouds'
// libraries are slow for these, and some of them ignore the context. So callers stop waiting after
// a while although the request itself may go on, namespaces share the maximum number of requests at
// a time, and regions and registries that returned a credential before have requests of their own.
// If a cloud returns no credential, the caller gets one that is marked as unread, because there may
// be one later.
package cloud

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/time/rate"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
)

const (
	// timeout is how long callers wait for a request, which itself may go on.
	timeout = 2 * time.Second
	// ttl is how long a credential is remembered. It is less than five minutes, which is the minimum
	// time that is left of a token from Google's metadata server. The tokens of Amazon and Azure are
	// valid for hours, and their libraries don't say how long.
	ttl = 4 * time.Minute
	// failureTTL is how long a failure is remembered.
	failureTTL = time.Minute
	// keepFor is how long the last credential is used while its cloud returns no new one.
	keepFor = time.Hour
	// minInterval is the minimum time between two requests if a registry refused the credential.
	minInterval = 10 * time.Second
	// maxScopes is the maximum number of scopes that are remembered.
	maxScopes = 256
	// maxRequests is the maximum number of requests to one cloud at a time. A library may go on after
	// the timeout, and can't be stopped.
	maxRequests = 16
	// maxPerNamespace is the maximum number of requests of one namespace at a time, for scopes without
	// a credential.
	maxPerNamespace = 2
	// minTurn is how long a request without a credential keeps others of its namespace waiting at
	// least. The libraries make a connection for each, which may stay open for 90 s, and invented
	// regions fail within milliseconds.
	minTurn = time.Second
	// maxWaiting is the maximum number of requests of one namespace that wait for their turn.
	maxWaiting = 32
)

// requesting describes a request in the text of a panic.
const requesting = "asking a cloud for a credential"

var (
	errNone     = errors.New("the cloud returned no credential")
	errTooLarge = fmt.Errorf("the cloud returned a credential of more than %d bytes",
		keychain.MaxCredential)
)

// Ambient returns Keychains with the credentials of the clouds' machine identities. The fields must
// not change after the first call. It is safe for concurrent use.
type Ambient struct {
	// Providers are the clouds that may be asked.
	Providers []Provider
	// Source returns the credential for a host of a cloud. A credential is also used for the other
	// hosts of its scope. Default: the clouds' libraries.
	Source authn.Keychain
	// Report is called for failed requests: the first ten of a namespace, and then at most one every
	// ten seconds, because it can invent any number of regions and registries. If nil, failures are
	// not reported.
	Report func(Failure)
	// Metrics counts the requests. If nil, they are not counted.
	Metrics *Metrics
	// Panics reports panics in the clouds' libraries. If nil, they are not reported.
	Panics *panics.Reporter

	once    sync.Once
	reports cache.Memory[string, *rate.Sometimes] // by namespace
	known   cache.Memory[scope, state]
	// flights are never closed, because a library that ignores its context would delay a shutdown.
	flights    cache.Flights[scope, state]
	knownQueue map[Provider]*fair.Queue // for scopes with a usable credential
	otherQueue map[Provider]*fair.Queue // for all other scopes
}

// Failure is a failed request.
type Failure struct {
	Provider  Provider
	Namespace string // of the lookup
	Registry  string // the host that the credential was requested for
	Err       error
}

// state is what is known about a scope.
type state struct {
	auth      authn.AuthConfig // the last credential; zero if there was none
	authAt    time.Time        // when the request for auth began; zero if there was none
	lastAt    time.Time        // when the last request that has ended began
	pendingAt time.Time        // when the request that is under way began; zero if there is none
	namespace string           // the namespace of the last request
}

// For returns the Keychain of a namespace. It sends nothing before Credentials is called.
func (a *Ambient) For(namespace string) keychain.Keychain {
	return keychain.Func(func(ctx context.Context, r ref.Reference, fresh bool) []keychain.Credential {
		for _, p := range a.Providers {
			if p.Owns(r.Host()) {
				return a.credentials(ctx, namespace, p, r, fresh)
			}
		}
		return nil
	})
}

// credentials returns the credential of the cloud p that owns r's host. It sends a request if the
// remembered one is too old.
func (a *Ambient) credentials(
	ctx context.Context, namespace string, p Provider, r ref.Reference, fresh bool,
) []keychain.Credential {
	a.once.Do(a.init)
	s := p.scope(r.Host())
	known, _ := a.known.Get(s)
	left := timeout // of the request that is under way, or of a new one
	switch {
	case !fresh && time.Since(known.authAt) < ttl:
		left = 0 // another caller may have requested a new one, which this one does not need
	case !known.pendingAt.IsZero():
		left -= time.Since(known.pendingAt)
	case time.Since(known.lastAt) < interval(fresh):
		left = 0
	}
	if left <= 0 {
		return known.credentials(s)
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	got, err := a.flights.DoQueued(ctx, s, cache.Caller{Namespace: namespace},
		func(ctx context.Context, turn cache.Turn) (state, error) {
			queue := a.otherQueue[p]
			if known.usable() {
				queue = a.knownQueue[p]
			}
			leave, err := queue.Enter(ctx, namespace, 1)
			if err != nil {
				return state{}, err
			}
			if err := turn.Start(); err != nil {
				leave()
				return state{}, err
			}
			began := time.Now()
			updated := a.update(s, namespace, r)
			if updated.usable() {
				leave()
			} else {
				time.AfterFunc(minTurn-time.Since(began), leave)
			}
			return updated, nil
		})
	if err != nil {
		got, _ = a.known.Get(s)
	}
	return got.credentials(s)
}

// credentials returns the credential of a scope. If there is none, it returns a mark that there may
// be one later. Amazon's public registry needs no mark, because all of its images are public.
func (st *state) credentials(s scope) []keychain.Credential {
	source := string(s.provider) + " " + s.name
	switch {
	case st.usable():
		return []keychain.Credential{{Auth: st.auth, Shared: true, Source: source}}
	case s.name == amazonPublic:
		return nil
	}
	return []keychain.Credential{{Unread: true, Source: source}}
}

// usable reports whether there is a credential that may still be valid.
func (st *state) usable() bool {
	return st.auth != (authn.AuthConfig{}) && time.Since(st.authAt) < keepFor
}

// interval returns the minimum time between two requests, if the last one failed or, with fresh, a
// registry refused its credential.
func interval(fresh bool) time.Duration {
	if fresh {
		return minInterval
	}
	return failureTTL
}

// update requests a credential and remembers the new state of the scope.
func (a *Ambient) update(s scope, namespace string, r ref.Reference) (updated state) {
	began := time.Now()
	a.known.Update(s, 0, func(known state, _ bool) (state, bool) {
		known.namespace, known.pendingAt = namespace, began
		return known, true
	})
	var auth authn.AuthConfig
	err := a.Panics.Catch(requesting, func() (err error) {
		auth, err = a.request(r)
		return err
	})
	a.Metrics.count(s.provider, err)
	if err != nil && a.Report != nil {
		a.report(Failure{s.provider, namespace, r.Host(), err})
	}
	a.known.Update(s, 0, func(known state, _ bool) (state, bool) {
		known.namespace, known.pendingAt, known.lastAt = namespace, time.Time{}, began
		if err == nil {
			known.auth, known.authAt = auth, began
		}
		updated = known
		return known, true
	})
	return updated
}

// report calls Report, unless the namespace has had too many failures.
func (a *Ambient) report(f Failure) {
	var limit *rate.Sometimes
	a.reports.Update(strings.Clone(f.Namespace), 0,
		func(known *rate.Sometimes, ok bool) (*rate.Sometimes, bool) {
			if limit = known; !ok {
				limit = &rate.Sometimes{First: 10, Interval: 10 * time.Second}
			}
			return limit, true
		})
	limit.Do(func() { a.Report(f) })
}

// request requests a credential from the source.
func (a *Ambient) request(r ref.Reference) (authn.AuthConfig, error) {
	auth, err := keychain.Authorization(
		context.Background(), cmp.Or[authn.Keychain](a.Source, libraries{}), r)
	switch {
	case err != nil:
		return authn.AuthConfig{}, err
	case auth == (authn.AuthConfig{}):
		return authn.AuthConfig{}, errNone
	case keychain.Size(auth) > keychain.MaxCredential:
		return authn.AuthConfig{}, errTooLarge
	}
	return auth, nil
}

func (a *Ambient) init() {
	a.known.Size = maxScopes
	// Scopes that a namespace invents push out each other, but no credentials and no scopes of other
	// namespaces.
	a.known.Owner = func(_ scope, st state) string {
		if st.usable() {
			return ""
		}
		return st.namespace
	}
	a.flights.Timeout, a.flights.Doing, a.flights.Panics = timeout, requesting, a.Panics
	a.knownQueue, a.otherQueue = map[Provider]*fair.Queue{}, map[Provider]*fair.Queue{}
	for _, p := range a.Providers {
		a.knownQueue[p] = &fair.Queue{Capacity: maxRequests}
		a.otherQueue[p] = &fair.Queue{
			Capacity: maxRequests, Share: maxPerNamespace, Backlog: maxWaiting,
		}
	}
}
