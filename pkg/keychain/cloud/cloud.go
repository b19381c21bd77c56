// SPDX-License-Identifier: Apache-2.0

// Package cloud gives the credentials of the machine that tagpin runs on at the registries of its
// cloud, as a node's credential provider would.
//
// A cloud is asked only where it is switched on, and only for a host that is its own by an
// anchored check. A credential is asked for once for all that it is good for, and remembered:
// Google's for all of its registries, Amazon's for a region, Azure's for one registry.
//
// Tenants choose hosts, and can make up regions and registries without end. The libraries of the
// clouds are slow for these, and don't all obey a context. So each question has a deadline;
// namespaces share what may be asked at once; and what has answered before is asked apart from
// what has not. A cloud that gives no credential is not the same as one that has none to give: the
// caller gets a credential that is marked as unread.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/ref"
)

const (
	defaultTimeout = 2 * time.Second
	// defaultTTL is less than what is left at least of a token that Google's metadata server gives:
	// five minutes. Amazon's and Azure's live for hours, and their libraries don't say how long.
	defaultTTL = 4 * time.Minute
	failureTTL = time.Minute
	// keepFor is how long the last credential is tried on while its cloud gives no new one.
	keepFor = time.Hour
	// freshAfter is how old an answer has to be before a refused credential makes the cloud be asked
	// again.
	freshAfter = 10 * time.Second
	// maxAnswers bounds what is remembered.
	maxAnswers = 256
	// maxQuestions bounds the questions that are out to one cloud: what a library does after the
	// deadline can't be cut short.
	maxQuestions = 16
	// maxPerNamespace bounds those of one namespace, where the cloud has not answered before.
	maxPerNamespace = 2
	// maxWaiting bounds those that wait for a place, of each namespace.
	maxWaiting = 32
)

var (
	errNone     = errors.New("the cloud gave no credential")
	errTooLarge = fmt.Errorf("the cloud gave a credential of over %d bytes", keychain.MaxCredential)
)

// Ambient gives Keychains of the clouds' own identities. It is safe for concurrent use; its fields
// are set before its first use.
type Ambient struct {
	// Providers are the clouds that may be asked. Default: none.
	Providers []Provider
	// Source is asked for a host that passed the check. It is given any host that the credential is
	// good for. Default: the clouds' own libraries.
	Source authn.Keychain
	// Timeout of a question. Default: 2 s.
	Timeout time.Duration
	// TTL is how long a credential is remembered. Default: 4 min. A failure is remembered for a minute
	// at most.
	TTL time.Duration
	// Report is told of each failed question. Default: nobody is.
	Report func(provider Provider, err error)
	// Panics is told of panics in the clouds' libraries. Default: nobody is.
	Panics *panics.Reporter

	once  sync.Once
	known cache.Memory[scope, answer]
	// flights are never closed: a library that ignores the context would hold up a shutdown.
	flights cache.Flights[scope, answer]
	proven  map[Provider]*fair.Queue // for scopes with a credential
	untried map[Provider]*fair.Queue // for those without
}

// answer is what is known of a scope.
type answer struct {
	auth   authn.AuthConfig // the last credential; zero: none
	good   time.Time        // when it was asked for
	asked  time.Time        // when the last question that has ended began
	asking time.Time        // when the question that is out began; zero: none is
	who    string           // the namespace that asked last
}

// For returns the Keychain for what a namespace pulls. It asks nothing by itself.
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

// credentials returns the credential of the cloud that owns r's host, as it is remembered or asked
// for.
func (a *Ambient) credentials(
	ctx context.Context, namespace string, p Provider, r ref.Reference, fresh bool,
) []keychain.Credential {
	a.once.Do(a.init)
	s := p.scope(r.Host())
	known, _ := a.known.Get(s)
	if known.asking.IsZero() && time.Since(known.asked) < a.age(&known, fresh) {
		return known.credentials(s)
	}
	patience := a.timeout()
	if !known.asking.IsZero() {
		patience -= time.Since(known.asking)
	}
	if patience <= 0 {
		return known.credentials(s)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	got, err := a.flights.DoInTurn(ctx, s, cache.Caller{Namespace: namespace},
		func(ctx context.Context, begin func() error) (answer, error) {
			leave, err := a.places(s, &known).Enter(ctx, namespace, 1)
			if err != nil {
				return answer{}, err
			}
			defer leave()
			if err := begin(); err != nil {
				return answer{}, err
			}
			return a.ask(s, namespace, r), nil
		})
	if err != nil {
		got, _ = a.known.Get(s)
	}
	return got.credentials(s)
}

// credentials is the credential of a scope, or the mark that there may be one, without which a
// refusal is not the last word. Nobody needs one where all images are public.
func (ans *answer) credentials(s scope) []keychain.Credential {
	switch {
	case ans.usable():
		return []keychain.Credential{{Auth: ans.auth, Shared: true}}
	case s.name == amazonPublic:
		return nil
	}
	return []keychain.Credential{{Unread: true}}
}

// usable reports whether there is a credential that may still be good.
func (ans *answer) usable() bool {
	return ans.auth != (authn.AuthConfig{}) && time.Since(ans.good) < keepFor
}

// age is how old an answer may get.
func (a *Ambient) age(ans *answer, fresh bool) time.Duration {
	age := a.TTL
	if age <= 0 {
		age = defaultTTL
	}
	if !ans.good.Equal(ans.asked) {
		age = min(age, failureTTL)
	}
	if fresh {
		age = min(age, freshAfter)
	}
	return age
}

// places is what questions about a scope need a place of.
func (a *Ambient) places(s scope, known *answer) *fair.Queue {
	if known.usable() {
		return a.proven[s.provider]
	}
	return a.untried[s.provider]
}

// ask asks the source and remembers the answer, or the failure.
func (a *Ambient) ask(s scope, namespace string, r ref.Reference) (now answer) {
	began := time.Now()
	a.known.Update(s, 0, func(known answer, _ bool) (answer, bool) {
		known.who, known.asking = namespace, began
		return known, true
	})
	var auth authn.AuthConfig
	err := a.Panics.Catch("asking a cloud for a credential", func() (err error) {
		auth, err = a.question(r)
		return err
	})
	if err != nil && a.Report != nil {
		a.Report(s.provider, err)
	}
	a.known.Update(s, 0, func(known answer, _ bool) (answer, bool) {
		known.who, known.asking, known.asked = namespace, time.Time{}, began
		if err == nil {
			known.auth, known.good = auth, began
		}
		now = known
		return known, true
	})
	return now
}

// question asks the source. Its context has no end: a library may keep it for the tokens to come.
func (a *Ambient) question(r ref.Reference) (authn.AuthConfig, error) {
	var source authn.Keychain = libraries{}
	if a.Source != nil {
		source = a.Source
	}
	ctx := context.Background()
	authenticator, err := authn.Resolve(ctx, source, keychain.Resource(r))
	if err != nil {
		return authn.AuthConfig{}, err
	}
	auth, err := authn.Authorization(ctx, authenticator)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	if auth == nil || *auth == (authn.AuthConfig{}) {
		return authn.AuthConfig{}, errNone
	}
	if keychain.Size(*auth) > keychain.MaxCredential {
		return authn.AuthConfig{}, errTooLarge
	}
	return *auth, nil
}

func (a *Ambient) timeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return defaultTimeout
}

func (a *Ambient) init() {
	a.known.Size = maxAnswers
	// What a tenant makes up is the first to be forgotten, and never another one's, or a credential.
	a.known.Owner = func(_ scope, ans answer) string {
		if ans.usable() {
			return ""
		}
		return ans.who
	}
	a.flights.Timeout, a.flights.Panics = a.timeout(), a.Panics
	a.flights.Doing = "asking a cloud for a credential"
	a.proven, a.untried = map[Provider]*fair.Queue{}, map[Provider]*fair.Queue{}
	for _, p := range a.Providers {
		a.proven[p] = &fair.Queue{Capacity: maxQuestions}
		a.untried[p] = &fair.Queue{Capacity: maxQuestions, Share: maxPerNamespace, Backlog: maxWaiting}
	}
}
