// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// maxToken bounds the answer of a token endpoint.
	maxToken = 64 << 10
	// maxRemembered bounds a token that is used again; hardly a server takes longer headers.
	maxRemembered = 8 << 10
	// tokenLifetime is assumed where the answer names none (distribution's token specification).
	tokenLifetime = 60 * time.Second
	// maxLifetime bounds what it names.
	maxLifetime = time.Hour
)

// tokenRequestKey is what a request for a token depends on.
type tokenRequestKey struct {
	challenge challenge
	key       tokenKey
}

// token is the header with a token that the realm gives. Look-ups that want one at the same time share
// one request, which has the registry's whole timeout, whoever began it.
func (l *lookup) token(ctx context.Context, ch challenge) (header string, err error) {
	header, err = l.state.asking.Do(ctx, tokenRequestKey{ch, l.key()}, func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithTimeout(ctx, l.host.Timeout)
		defer cancel()
		token, lifetime, err := l.askToken(ctx, ch)
		if err != nil {
			return "", err
		}
		header := "Bearer " + token
		if len(token) <= maxRemembered {
			learn(&l.state.tokens, l.key(), header, l.req.Namespace, lifetime-lifetime/10)
		}
		return header, nil
	})
	if err != nil && AsError(err) == nil { // ctx has ended, or a bug in what reads the answer
		e := transportError(l.host.Name, l.named, err)
		if e.Token = true; ctx.Err() != nil {
			e.network = broken
		}
		return "", e
	}
	return header, err
}

// askToken asks the realm for a token: by GET, as every registry takes it, and by POST for an identity token alone.
func (l *lookup) askToken(ctx context.Context, ch challenge) (string, time.Duration, error) {
	realm, err := l.realm(ch.realm)
	if err != nil {
		return "", 0, err
	}
	ctx, s := span.Call(ctx, "registry token")
	defer s.End()
	a := l.attempt()
	req, err := l.tokenRequest(a.trace(ctx), realm, ch.service, "repository:"+l.path+":pull")
	if err != nil {
		return "", 0, l.refuse("token realm %s is no valid address", realm.Host)
	}
	req.Header.Set("User-Agent", l.client.userAgent())
	client := http.Client{Transport: l.http.Transport, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return l.refuse("token realm %s redirects to %s", realm.Host, r.URL.Host)
	}}
	resp, err := client.Do(req)
	if err != nil {
		l.count(tokenRequest, nil, s)
		e := l.unanswered(err, a.network(err))
		e.Token = true
		return "", 0, e
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	l.count(tokenRequest, resp, s)
	if resp.StatusCode != http.StatusOK {
		return "", 0, &Error{
			Host: l.host.Name, Status: resp.StatusCode, Token: true, RetryAfter: retryAfter(resp.Header),
			foreign: !l.ownRealm(realm),
			login:   resp.StatusCode == http.StatusUnauthorized && !l.anonymous(),
		}
	}
	token, lifetime, err := l.parseToken(resp.Body)
	if err == nil {
		l.accepted()
	}
	return token, lifetime, err
}

func (l *lookup) tokenRequest(ctx context.Context, realm *url.URL, service, scope string) (*http.Request, error) {
	if l.auth.IdentityToken == "" {
		q := realm.Query()
		q.Set("scope", scope)
		if service != "" {
			q.Set("service", service)
		}
		realm.RawQuery = q.Encode()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, realm.String(), nil)
		if err == nil {
			if header := basic(l.auth); header != "" {
				req.Header.Set("Authorization", header)
			}
		}
		return req, err
	}
	form := url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {l.auth.IdentityToken},
		"scope": {scope}, "service": {service}, "client_id": {"tagpin"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
	if err == nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return req, err
}

func (l *lookup) parseToken(from io.Reader) (string, time.Duration, error) {
	var t struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"`
	}
	if err := json.NewDecoder(io.LimitReader(from, maxToken)).Decode(&t); err != nil {
		return "", 0, &Error{Host: l.host.Name, Token: true, Reason: "its token endpoint's answer is not usable", err: err}
	}
	if t.Token == "" {
		t.Token = t.AccessToken
	}
	if t.Token == "" || !httpguts.ValidHeaderFieldValue(t.Token) {
		return "", 0, &Error{Host: l.host.Name, Token: true, Reason: "its token endpoint gave no token"}
	}
	lifetime := tokenLifetime
	if t.ExpiresIn > 0 {
		lifetime = time.Duration(min(t.ExpiresIn, int64(maxLifetime/time.Second))) * time.Second
	}
	return t.Token, lifetime, nil
}
