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
	// defaultTTL is less than what is left at least of a token that Google's metadata server gives: five minutes. Amazon's
	// and Azure's live for hours, and their libraries don't tell how long.
	defaultTTL = 4 * time.Minute
	failureTTL = time.Minute
	// keepFor is how long the last credential is tried on while its cloud gives no new one.
	keepFor = time.Hour
	// freshAfter is how old an answer has to be before a refused credential makes the cloud be asked again.
	freshAfter = 10 * time.Second
	// hosts bounds what is remembered: the hosts of Amazon and Azure name accounts, so that tenants choose them.
	hosts = 256
	// flights bounds the questions that are out to one cloud: what a library does after the deadline can't be cut short.
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
	// TTL is how long a credential is remembered. Default: 4 min. A failure is remembered for a minute at most.
	TTL time.Duration
	// Report is told of each failed question. Default: nobody is.
	Report func(provider Provider, err error)

	mu      sync.Mutex
	answers *lru.Cache[string, *answer] // by host
	running map[Provider]int
}

// answer is one question, answered or not yet.
type answer struct {
	done  chan struct{} // closed after auth is written
	asked time.Time
	auth  authn.AuthConfig // zero: none, or it failed
	last  authn.AuthConfig // of the answer before, and when that was good
	good  time.Time
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
	auth := ans.last
	if ans.wait(ctx, a.timeout()) {
		auth = ans.auth
	}
	if auth == (authn.AuthConfig{}) {
		return nil
	}
	return []keychain.Credential{{Auth: auth, Shared: true}}
}

// ask gives the remembered answer, joins a question that is out, or asks. Where too many are out it is the last answer, or
// nil: tenants choose the hosts, and may choose those that hang.
func (a *Ambient) ask(p Provider, r ref.Reference, fresh bool) *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.answers == nil {
		a.answers, _ = lru.New[string, *answer](hosts) // refuses sizes below one alone
		a.running = map[Provider]int{}
	}
	old, _ := a.answers.Get(r.Host())
	if old != nil && (!old.finished() || time.Since(old.asked) < a.age(old, fresh)) || a.running[p] >= flights {
		return old
	}
	a.running[p]++
	ans := &answer{done: make(chan struct{}), asked: time.Now()}
	if old != nil && time.Since(old.good) < keepFor {
		ans.last, ans.good = old.auth, old.good
	}
	a.answers.Add(r.Host(), ans)
	go a.fill(ans, p, r) // nobody waits for its end: a library that ignores the context would hold up a shutdown
	return ans
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
		a.running[p]--
		a.mu.Unlock()
		close(ans.done)
	}()
	auth, err := a.question(context.Background(), r)
	if err != nil {
		if a.Report != nil {
			a.Report(p, err)
		}
		ans.auth = ans.last
		return
	}
	ans.auth, ans.good = auth, ans.asked
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
