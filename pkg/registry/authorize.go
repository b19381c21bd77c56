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

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

const (
	// challengeLifetime is how long a challenge is remembered.
	challengeLifetime = 10 * time.Minute
	// noChallengeLifetime is how long a registry is not asked for a challenge again after an answer at
	// /v2/ that was neither a challenge nor 200: it may be starting. After a 200 it is
	// challengeLifetime.
	noChallengeLifetime = 5 * time.Second
	// maxToken bounds a token that is remembered. Hardly any server accepts longer headers.
	maxToken = 8 << 10
)

// challengeKey says where a challenge is expected: at a whole registry if path is empty, in the
// repositories below path if that ends with a slash, else in one repository (auth.Scope).
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
	key := challengeKey{l.origin(), l.Ref.Path()}
	l.client.challenges.Remove(key)
	switch l.realms.Scope(c) {
	case auth.All:
		key.path = ""
	case auth.Beside:
		key.path = l.firstPart()
	case auth.Repository:
	}
	if len(c.Realm)+len(c.Service) > auth.MaxRealm {
		l.client.challenges.Remove(key)
		return
	}
	c.Realm, c.Service = strings.Clone(c.Realm), strings.Clone(c.Service) // of a long header
	c.Prefix = strings.Clone(c.Prefix)
	key.origin, key.path = strings.Clone(key.origin), strings.Clone(key.path)
	r := received{c, strings.Clone(l.Ref.Path()), time.Now()}
	l.client.challenges.Put(key, r, l.Namespace, challengeLifetime)
}

// recalled is what is known about a request's authorization before it is sent.
type recalled struct {
	header string // Authorization; "" if none is known
	// challenge is the remembered challenge for which a header was asked, with or without success. It
	// is nil if header itself was remembered, if nothing was, or if the token did not come in its
	// part of the time.
	challenge *auth.Challenge
	// final is true if err is the answer to the lookup, because the repository has sent the challenge
	// just now. Otherwise the challenge may be out of date, and the registry has to be asked.
	final bool
	err   error
}

// met reports whether the header was got for the challenge. Then another token would not help.
func (r *recalled) met(c *auth.Challenge) bool { return r.challenge != nil && *r.challenge == *c }

// isToken reports whether the header is a token that was remembered.
func (r *recalled) isToken() bool { return r.header != "" && r.challenge == nil }

// findChallenge asks the registry for its challenge, if there is a credential that could meet it:
// some registries hide a private repository from those who show none, and challenge them at /v2/
// alone (nexus-public#217). It returns nil if the registry has none or the lookup has no
// credential, and an error if /v2/ is unavailable. It does not follow redirects to other hosts.
func (l *lookup) findChallenge(ctx context.Context) (*auth.Challenge, error) {
	if _, none := l.client.noChallenge.Get(l.origin()); none || l.anonymous() {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url("", nil), nil)
	if err != nil {
		return nil, l.invalid("no valid address")
	}
	resp, err := l.do(req, challengeRequest, func(to *url.URL) bool { return sameOrigin(to, req.URL) })
	e, lifetime := asError(err), noChallengeLifetime
	if err == nil {
		defer func() { drain(resp.Body); _ = resp.Body.Close() }()
		e = l.refused(resp, false)
	}
	switch {
	case e.status == http.StatusOK:
		lifetime = challengeLifetime
	case e.status == http.StatusUnauthorized:
		if c := l.challenge(resp); c != nil {
			return c, nil
		}
	case e.Class() == failure.Unavailable && e.status/100 != 2: // it says nothing about a challenge
		e.token, e.reason, e.detail = true, e.cause()+" at /v2/", e.detailed()+" at /v2/"
		return nil, e
	}
	l.client.noChallenge.Put(l.origin(), struct{}{}, l.Namespace, lifetime)
	return nil, nil
}

// recall returns the authorization that was good before. If only the challenge is remembered, it
// asks for a token.
func (l *lookup) recall(ctx context.Context) recalled {
	if header, ok := l.client.tokens.Get(l.tokenKey()); ok {
		return recalled{header: header}
	}
	var (
		key   challengeKey
		known received
		ok    bool
	)
	for _, path := range []string{l.Ref.Path(), l.firstPart(), ""} {
		key = challengeKey{l.origin(), path}
		if known, ok = l.client.challenges.Get(key); ok {
			break
		}
	}
	if !ok {
		return recalled{}
	}
	r := recalled{challenge: &known.challenge}
	r.final = known.path == l.Ref.Path() && time.Since(known.at) < l.Timeout
	if !r.final { // half of the time is for the registry
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout/2)
		defer cancel()
	}
	r.header, r.err = l.authorize(ctx, *r.challenge, !r.final)
	if r.err != nil && !r.final {
		if !errors.Is(r.err, ErrOfNamespace) {
			l.client.challenges.Remove(key) // until the registry sends it again
		}
		if ctx.Err() != nil {
			r.challenge = nil // if the request for a token was sent, it goes on, and can be joined
		}
	}
	return r
}

// authorize returns the Authorization header that meets a challenge. It is empty if there is
// nothing to present. Lookups that need a token at the same time share one request for it, which
// has the registry's whole timeout and not that of the first caller. goesOn says whether the lookup
// goes on without the header too.
func (l *lookup) authorize(ctx context.Context, c auth.Challenge, goesOn bool) (string, error) {
	if header, ok := c.Header(l.credential.Auth); ok {
		return header, nil
	}
	var sent atomic.Bool
	foreign := l.isForeign(c)
	asking := *l // for the call, which may outlive the lookup and needs one of its credentials
	asking.Credentials, asking.tried, asking.Begin = nil, nil, nil
	call := func(ctx context.Context, turn cache.Turn) (string, error) {
		one := asking
		one.slot, one.OnWait = new(slot), turn.Wait
		ctx, cancel := context.WithTimeout(ctx, one.Timeout)
		defer cancel()
		token, lifetime, err := one.askToken(ctx, c, func(inTime bool) error {
			err := turn.Start()
			sent.Store(err == nil && inTime)
			return err
		})
		if err != nil {
			return "", err
		}
		header := "Bearer " + token
		if len(token) <= maxToken {
			one.client.tokens.Put(one.tokenKey(), header, one.Namespace, lifetime-lifetime/10)
		}
		return header, nil
	}
	if foreign { // others may try meanwhile, and ask waits for the lookup's turn again
		l.endTry(false)
		l.paused = true
	}
	onWait := func() func(bool) {
		over := l.notifyWait()
		return func(came bool) { over(came || goesOn) }
	}
	header, err := l.client.tokenCalls.DoQueued(ctx, tokenCall{c, l.tokenKey()},
		cache.Caller{Namespace: l.Namespace, OnWait: onWait}, call)
	switch {
	case err == nil:
	case asError(err) == nil: // ctx has ended, or a panic
		e := l.unanswered(err, l.api(), network.Broken)
		if e.token = true; ctx.Err() == nil {
			e.evidence = network.Nothing
		}
		if foreign && !sent.Load() { // perhaps it still waits for its turn there
			e.saysNothing()
		}
		return "", e
	}
	return header, err
}

// isForeign reports whether the token endpoint of a challenge is not the registry's own, and may be
// asked for a token, for which its host has bounds (visit).
func (l *lookup) isForeign(c auth.Challenge) bool {
	realm, err := l.realms.Realm(c, l.credential.Auth)
	return err == nil && !l.realms.Owns(realm)
}

// unusableRealm returns the error of a token endpoint that is not asked.
func (l *lookup) unusableRealm(err error) *requestError {
	e := &requestError{host: l.Name, reason: err.Error(), class: failure.Of(err)}
	switch {
	case !errors.Is(err, ErrForeignRealm):
	case l.client.ExplainAll:
		e.reason += "; if you trust it, name it by authHosts in the file of --config"
		e.err = ErrForeignRealm
	default:
		e.reason += "; see authHosts"
		e.err = ErrForeignRealm
	}
	return e
}

// askToken asks the token endpoint of a challenge. It calls start when nothing is left to wait for,
// and sends nothing if start returns an error. inTime reports that there is time enough for an
// answer.
func (l *lookup) askToken(
	ctx context.Context, c auth.Challenge, start func(inTime bool) error,
) (string, time.Duration, error) {
	realm, err := l.realms.Realm(c, l.credential.Auth)
	if err != nil {
		return "", 0, l.unusableRealm(err)
	}
	foreign := !l.realms.Owns(realm)
	scope := "repository:" + c.Prefix + l.Ref.Path() + ":pull"
	req, err := auth.TokenRequest(ctx, realm, c.Service, scope, l.credential.Auth)
	if err != nil {
		return "", 0, l.invalid("token realm %s is no valid address", realm.Host)
	}
	if foreign {
		l.via = ""
		if err := l.visit(ctx, realm); err != nil {
			return "", 0, ofToken(err)
		}
		defer func() { l.leaveOther(nil) }()
	}
	if err := start(!foreign || !l.other.late); err != nil {
		return "", 0, err
	}
	resp, err := l.do(req, tokenRequest, func(to *url.URL) bool {
		return req.Body == nil && sameOrigin(to, realm)
	})
	if err != nil {
		return "", 0, ofToken(err)
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if to := redirected(resp); to != nil {
		return "", 0, l.invalid("token realm %s redirects to %s", realm.Host, to.Host)
	}
	if resp.StatusCode/100 != 2 { // some answer POST by 201
		return "", 0, &requestError{
			host: l.Name, token: true, foreign: foreign, status: resp.StatusCode,
			retryAfter: parseRetryAfter(resp.Header),
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

// ofToken marks the error of a request as one about the token endpoint.
func ofToken(err error) error {
	if e := asError(err); e != nil {
		e.token = true
	}
	return err
}
