// SPDX-License-Identifier: Apache-2.0

// Package cloud gives the credentials of the machine that tagpin runs on at the registries of its cloud, as a node's
// credential provider would.
//
// A cloud is asked only where it is switched on, and only for a host that is its own by an anchored check. Its libraries
// are slow where there is no such cloud and don't all obey a context: each question has a deadline, is asked once for all
// who wait for it, and a failure is remembered.
package cloud

import (
	"context"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/k8schain"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
)

const (
	defaultTimeout = 2 * time.Second
	defaultTTL     = time.Minute
	// freshAfter is how old an answer has to be before a refused credential makes the cloud be asked again.
	freshAfter = 10 * time.Second
	// hosts bounds what is remembered: the hosts of Amazon and Azure name accounts, so that tenants choose them.
	hosts = 256
	// flights bounds the questions that are out: what a library does after the deadline can't be cut short.
	flights = 8
)

// Ambient is the Keychain of the clouds' own identities. It is safe for concurrent use; its fields are set before its
// first use.
type Ambient struct {
	// Providers are the clouds that may be asked. Default: none.
	Providers []Provider
	// Source is asked for a host that passed the check. Default: k8schain's, without a client.
	Source authn.Keychain
	// Timeout of a question. Default: 2 s.
	Timeout time.Duration
	// TTL is how long an answer is remembered, be it a failure. Default: 1 min.
	TTL time.Duration
	// Report is told of each failed question. Default: nobody is.
	Report func(provider Provider, err error)

	mu      sync.Mutex
	answers *lru.Cache[string, *answer] // by host
	running int
}

// answer is one question, answered or not yet.
type answer struct {
	done  chan struct{} // closed after auth is written
	asked time.Time
	auth  authn.AuthConfig // zero: none, or it failed
}

// Credentials asks the cloud that r's host belongs to, if it is switched on.
func (a *Ambient) Credentials(ctx context.Context, r ref.Reference, fresh bool) []keychain.Credential {
	for _, p := range a.Providers {
		if p.Owns(r.Host()) {
			return a.credentials(ctx, p, r, fresh)
		}
	}
	return nil
}

func (a *Ambient) credentials(ctx context.Context, p Provider, r ref.Reference, fresh bool) []keychain.Credential {
	ans := a.ask(p, r, fresh)
	if ans == nil {
		return nil
	}
	if !ans.wait(ctx, a.timeout()) || ans.auth == (authn.AuthConfig{}) {
		return nil
	}
	return []keychain.Credential{{Auth: ans.auth, Shared: true}}
}

// ask gives the remembered answer, joins a question that is out, or asks. Nil: too many are out.
func (a *Ambient) ask(p Provider, r ref.Reference, fresh bool) *answer {
	age := a.TTL
	if age <= 0 {
		age = defaultTTL
	}
	if fresh {
		age = min(age, freshAfter)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers == nil {
		a.answers, _ = lru.New[string, *answer](hosts) // refuses sizes below one alone
	}
	if old, ok := a.answers.Get(r.Host()); ok && (!old.finished() || time.Since(old.asked) < age) {
		return old
	}
	if a.running >= flights {
		return nil
	}
	a.running++
	ans := &answer{done: make(chan struct{}), asked: time.Now()}
	a.answers.Add(r.Host(), ans)
	go a.fill(ans, p, r) // nobody waits for its end: a library that ignores the context would hold up a shutdown
	return ans
}

// wait waits for the answer until its deadline. What is answered already is taken, however old its question is.
func (ans *answer) wait(ctx context.Context, timeout time.Duration) bool {
	if ans.finished() {
		return true
	}
	timer := time.NewTimer(time.Until(ans.asked.Add(timeout)))
	defer timer.Stop()
	select {
	case <-ans.done:
		return true
	case <-timer.C:
		return false
	case <-ctx.Done():
		return false
	}
}

func (ans *answer) finished() bool {
	select {
	case <-ans.done:
		return true
	default:
		return false
	}
}

// fill asks the source. The context has no end of its own: Google's library keeps the first one it sees for the tokens of
// a process's whole life.
func (a *Ambient) fill(ans *answer, p Provider, r ref.Reference) {
	defer func() {
		a.mu.Lock()
		a.running--
		a.mu.Unlock()
		close(ans.done)
	}()
	auth, err := a.question(context.Background(), r)
	if err != nil {
		if a.Report != nil {
			a.Report(p, err)
		}
		return
	}
	ans.auth = auth
}

func (a *Ambient) question(ctx context.Context, r ref.Reference) (authn.AuthConfig, error) {
	source := a.Source
	if source == nil {
		var err error
		if source, err = k8schain.NewNoClient(ctx); err != nil {
			return authn.AuthConfig{}, err
		}
	}
	authenticator, err := authn.Resolve(ctx, source, keychain.Resource(r))
	if err != nil {
		return authn.AuthConfig{}, err
	}
	auth, err := authn.Authorization(ctx, authenticator)
	if err != nil || auth == nil {
		return authn.AuthConfig{}, err
	}
	return *auth, nil
}

func (a *Ambient) timeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return defaultTimeout
}
