// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// challengeLifetime is how long a challenge is remembered.
	challengeLifetime = 10 * time.Minute
	// noChallengeLifetime is how long a registry is not asked for a challenge again that gave another
	// answer at /v2/ than that it needs none. It may be starting.
	noChallengeLifetime = 5 * time.Second
	// maxToken bounds a token that is remembered. Hardly any server accepts longer headers.
	maxToken = 8 << 10
)

// challengeKey says where a challenge is expected: at a whole registry if path is empty, else in
// one repository. A repository may name a token endpoint of its own, which other repositories must
// not be led to.
type challengeKey struct{ origin, path string }

// received is a challenge that a repository of a registry has sent.
type received struct {
	challenge auth.Challenge
	path      string
	at        time.Time
}

// tokenKey says what a token is good for.
type tokenKey struct {
	origin, path string
	identity     auth.Identity
}

// tokenCall identifies a request for a token.
type tokenCall struct {
	challenge auth.Challenge
	key       tokenKey
}

func (l *lookup) tokenKey() tokenKey { return tokenKey{l.origin(), l.Ref.Path(), l.identity} }

// remember remembers a challenge, and forgets what was remembered before.
func (l *lookup) remember(c auth.Challenge) {
	l.client.tokens.Remove(l.tokenKey())
	own := challengeKey{l.origin(), l.Ref.Path()}
	l.client.challenges.Remove(own)
	key := challengeKey{origin: l.origin()}
	if !l.realms.IsForAll(c) {
		key = own
	}
	if len(c.Realm)+len(c.Service) > auth.MaxRealm {
		l.client.challenges.Remove(key)
		return
	}
	c.Realm, c.Service = strings.Clone(c.Realm), strings.Clone(c.Service) // of a long header
	key.origin, key.path = strings.Clone(key.origin), strings.Clone(key.path)
	r := received{c, strings.Clone(l.Ref.Path()), time.Now()}
	l.client.challenges.Put(key, r, l.Namespace, challengeLifetime)
}

// recalled is what is known about a request's authorization before it is sent.
type recalled struct {
	header string // Authorization; "" if none is known
	// challenge is the remembered challenge for which a header was asked, with or without success. It
	// is nil if header itself was remembered, or if nothing was.
	challenge *auth.Challenge
	// final is true if err is the answer to the lookup, because the repository has sent the challenge
	// just now. Else the challenge may be out of date, and the registry has to be asked.
	final bool
	err   error
}

// met reports whether the header was got for the challenge. Then another token would not help.
func (r *recalled) met(c *auth.Challenge) bool { return r.challenge != nil && *r.challenge == *c }

// isToken reports whether the header is a token that was remembered.
func (r *recalled) isToken() bool { return r.header != "" && r.challenge == nil }

// findChallenge asks the registry for its challenge, if there is a credential that could meet it:
// some registries hide a private repository from those who show none, and challenge them at /v2/
// alone (nexus-public#217). It returns nil if there is none, and asks again after a while.
func (l *lookup) findChallenge(ctx context.Context) (*auth.Challenge, error) {
	if _, none := l.client.noChallenge.Get(l.origin()); none || l.anonymous() {
		return nil, nil
	}
	ctx, s := span.Call(ctx, "registry challenge")
	defer s.End()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url(""), nil)
	if err != nil {
		return nil, l.invalid("no valid address")
	}
	l.via = ""
	resp, evidence, err := l.do(req, l.redirect)
	l.count(challengeRequest, l.via, resp, s)
	if err != nil {
		return nil, l.unanswered(err, evidence)
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	e := &requestError{
		host: l.Name, via: l.via, status: resp.StatusCode, retryAfter: retryAfter(resp.Header),
	}
	switch {
	case resp.StatusCode != http.StatusOK && e.Class() == failure.Unavailable:
		return nil, e // it says nothing about the challenge
	case resp.StatusCode == http.StatusUnauthorized && l.via == "":
		if c := auth.ParseChallenges(resp.Header.Values("WWW-Authenticate")); c != nil {
			return c, nil
		}
	}
	lifetime := noChallengeLifetime
	if resp.StatusCode == http.StatusOK && l.via == "" {
		lifetime = challengeLifetime
	}
	l.client.noChallenge.Put(l.origin(), struct{}{}, l.Namespace, lifetime)
	return nil, nil
}

// follow asks the registry that a HEAD request was redirected to, and that has challenged it, as if
// the reference there had been asked for without a credential: the lookup's is for its own registry
// (scarf.sh redirects to other registries). A GET is not followed, since it counts against the pull
// quota there. So the answer is final.
func (l *lookup) follow(ctx context.Context, resp *http.Response) (*Manifest, error) {
	c := auth.ParseChallenges(resp.Header.Values("WWW-Authenticate"))
	there, err := referenceOf(resp.Request.URL)
	if c == nil || c.Basic || err != nil || resp.Request.Method != http.MethodHead || l.followed {
		return nil, &requestError{host: l.Name, via: l.via, status: resp.StatusCode}
	}
	req := l.Request
	req.Ref, req.Begin = there, nil
	own := new(slot)
	defer own.leave()
	next := l.client.lookup(req, keychain.Credential{}, own)
	next.followed, l.final = true, true
	m, err := next.request(ctx, http.MethodHead)
	if e := asError(err); e != nil {
		there := *e
		there.host, there.via = l.Name, l.via
		err = &there
	}
	return m, err
}

// referenceOf returns the reference to a manifest by its address.
func referenceOf(u *url.URL) (ref.Reference, error) {
	path, ok := strings.CutPrefix(u.Path, "/v2/")
	repository, name, manifest := strings.Cut(path, "/manifests/")
	if !ok || !manifest {
		return ref.Reference{}, errors.New("no address of a manifest")
	}
	separator := ":"
	if strings.Contains(name, ":") { // it is a digest
		separator = "@"
	}
	r, err := ref.Parse(u.Host + "/" + repository + separator + name)
	if err == nil && r.Host() != u.Host { // without a dot or a port, it is a part of the path
		err = errors.New("no host of a reference")
	}
	return r, err
}

// recall returns the authorization that was good before. If only the challenge is remembered, it
// asks for a token.
func (l *lookup) recall(ctx context.Context) recalled {
	if header, ok := l.client.tokens.Get(l.tokenKey()); ok {
		return recalled{header: header}
	}
	key := challengeKey{l.origin(), l.Ref.Path()}
	known, ok := l.client.challenges.Get(key)
	if !ok {
		key.path = ""
		if known, ok = l.client.challenges.Get(key); !ok {
			return recalled{}
		}
	}
	r := recalled{challenge: &known.challenge}
	r.final = known.path == l.Ref.Path() && time.Since(known.at) < l.Timeout
	if !r.final { // half of the time is for the registry
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout/2)
		defer cancel()
	}
	r.header, r.err = l.authorize(ctx, *r.challenge)
	if r.err != nil && !r.final && !errors.Is(r.err, ErrOfNamespace) {
		l.client.challenges.Remove(key) // until the registry sends it again
		if ctx.Err() != nil {
			r.challenge = nil // the request for a token goes on, and can be joined
		}
	}
	return r
}

// authorize returns the Authorization header that meets a challenge. It is empty if there is
// nothing to present. Lookups that need a token at the same time share one request for it, which
// has the registry's whole timeout and not that of the first caller. If there was no room for the
// request of another lookup, authorize asks again.
func (l *lookup) authorize(ctx context.Context, c auth.Challenge) (string, error) {
	if header, ok := c.Header(l.credential.Auth); ok {
		return header, nil
	}
	var own atomic.Bool
	one := *l
	one.Credentials = nil // since the call may outlive the lookup, and needs one of them
	call := func(ctx context.Context) (string, error) {
		own.Store(true)
		ctx, cancel := context.WithTimeout(ctx, one.Timeout)
		defer cancel()
		token, lifetime, err := one.askToken(ctx, c)
		if err != nil {
			return "", err
		}
		header := "Bearer " + token
		if len(token) <= maxToken {
			one.client.tokens.Put(one.tokenKey(), header, one.Namespace, lifetime-lifetime/10)
		}
		return header, nil
	}
	header, err := l.client.tokenCalls.Do(ctx, tokenCall{c, l.tokenKey()}, call)
	switch {
	case err == nil:
	case errors.Is(err, ErrOfNamespace) && !own.Load() && ctx.Err() == nil:
		return l.authorize(ctx, c)
	case asError(err) == nil: // ctx has ended, or a panic
		e := l.unanswered(err, network.Broken)
		if e.token = true; ctx.Err() == nil {
			e.evidence = network.Nothing
		}
		return "", e
	}
	return header, err
}

// askToken asks the token endpoint of a challenge.
func (l *lookup) askToken(ctx context.Context, c auth.Challenge) (string, time.Duration, error) {
	realm, err := l.realms.Realm(c, l.credential.Auth)
	if err != nil {
		e := &requestError{host: l.Name, reason: err.Error(), class: failure.Of(err)}
		return "", 0, e
	}
	ctx, s := span.Call(ctx, "registry token")
	defer s.End()
	foreign := !l.realms.Owns(realm)
	scope := "repository:" + l.Ref.Path() + ":pull"
	req, err := auth.TokenRequest(ctx, realm, c.Service, scope, l.credential.Auth)
	if err != nil {
		return "", 0, l.invalid("token realm %s is no valid address", realm.Host)
	}
	resp, evidence, err := l.do(req, func(r *http.Request, _ []*http.Request) error {
		return l.invalid("token realm %s redirects to %s", realm.Host, r.URL.Host)
	})
	l.count(tokenRequest, "", resp, s)
	if err != nil {
		e := l.unanswered(err, evidence)
		e.token = true
		return "", 0, e
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", 0, &requestError{
			host: l.Name, token: true, foreign: foreign, status: resp.StatusCode,
			retryAfter: retryAfter(resp.Header),
			login:      resp.StatusCode == http.StatusUnauthorized && !l.anonymous(),
		}
	}
	token, lifetime, err := auth.ParseToken(resp.Body)
	if err != nil {
		return "", 0, &requestError{host: l.Name, token: true, reason: err.Error(), err: err}
	}
	l.accepted()
	return token, lifetime, nil
}
