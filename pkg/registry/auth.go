// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

const (
	// maxToken bounds the answer of a token endpoint.
	maxToken = 64 << 10
	// tokenLifetime is assumed where the answer names none (distribution's token specification).
	tokenLifetime = 60 * time.Second
	// challengeLifetime is how long the realm of a host is remembered.
	challengeLifetime = 10 * time.Minute
)

// challenge is how a registry wants a request to be authorized (RFC 9110, section 11.6.1).
type challenge struct {
	basic          bool
	realm, service string
}

// remembered is a value with an end.
type remembered[T any] struct {
	value T
	until time.Time
}

// tokenKey is what a token is good for.
type tokenKey struct {
	host, path string
	auth       authn.AuthConfig
}

func (l *lookup) key() tokenKey { return tokenKey{l.api, l.path, l.auth} }

// remembered is the Authorization header that was good before: it costs no request if there is one, and one where only
// the realm is known.
func (l *lookup) remembered(ctx context.Context) (string, error) {
	now := time.Now()
	if t, ok := l.state.tokens.Get(l.key()); ok && now.Before(t.until) {
		return t.value, nil
	}
	ch, ok := l.state.challenges.Get(l.api)
	if !ok || !now.Before(ch.until) {
		return "", nil
	}
	return l.authorize(ctx, ch.value)
}

// forget drops what was remembered and is refused now.
func (l *lookup) forget() {
	l.state.tokens.Remove(l.key())
	l.state.challenges.Remove(l.api)
}

// authorize gives the Authorization header that meets a challenge; empty where there is nothing to present.
func (l *lookup) authorize(ctx context.Context, ch challenge) (header string, err error) {
	until := time.Now().Add(challengeLifetime)
	l.state.challenges.Add(l.api, remembered[challenge]{ch, until})
	switch {
	case ch.basic:
		return basic(l.auth), nil
	case l.auth.RegistryToken != "":
		return "Bearer " + l.auth.RegistryToken, nil
	}
	token, lifetime, err := l.token(ctx, ch)
	if err != nil {
		return "", err
	}
	header = "Bearer " + token
	l.state.tokens.Add(l.key(), remembered[string]{header, time.Now().Add(lifetime - lifetime/10)})
	return header, nil
}

func basic(a authn.AuthConfig) string {
	switch {
	case a.Auth != "" && a.Username == "" && a.Password == "":
		return "Basic " + a.Auth
	case a.Username == "" && a.Password == "":
		return ""
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+a.Password))
}

// token asks the realm for a token: by GET, as every registry takes it, and by POST for an identity token alone.
func (l *lookup) token(ctx context.Context, ch challenge) (string, time.Duration, error) {
	realm, err := l.realm(ch.realm)
	if err != nil {
		return "", 0, err
	}
	scope := "repository:" + l.path + ":pull"
	req, err := l.tokenRequest(ctx, realm, ch.service, scope)
	if err != nil {
		return "", 0, l.refuse("token realm %s is no valid address", realm.Host)
	}
	req.Header.Set("User-Agent", l.client.userAgent())
	client := *l.http
	client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		return l.refuse("token realm %s redirects to %s", realm.Host, r.URL.Host)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", 0, transportError(l.host.Name, l.named, err)
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", 0, &Error{Host: l.host.Name, Status: resp.StatusCode, Token: true, RetryAfter: retryAfter(resp.Header)}
	}
	return l.parseToken(resp.Body)
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
	if t.Token == "" || strings.ContainsAny(t.Token, "\r\n") {
		return "", 0, &Error{Host: l.host.Name, Token: true, Reason: "its token endpoint gave no token"}
	}
	lifetime := tokenLifetime
	if t.ExpiresIn > 0 {
		lifetime = time.Duration(min(t.ExpiresIn, 3600)) * time.Second
	}
	return t.Token, lifetime, nil
}

// knownRealms are registries whose tokens are given by another host of the same operator.
var knownRealms = map[string]string{
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// realm is the address of a token endpoint, where the registry may send credentials to: its own host, a known pair, or
// what the config names; over TLS, unless the registry itself is plain.
func (l *lookup) realm(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, l.refuse("its token realm is no valid address")
	}
	own := u.Host == l.api || u.Host == knownRealms[l.api] || slices.Contains(l.host.AuthHosts, u.Host)
	switch {
	case u.User != nil:
		return nil, l.refuse("its token realm %s holds credentials", u.Host)
	case u.Scheme != "https" && (u.Scheme != "http" || !l.host.Insecure):
		return nil, l.refuse("its token realm %s is not over TLS", u.Host)
	case !own && l.auth != (authn.AuthConfig{}): // without credentials there is nothing to give away
		return nil, &Error{Host: l.host.Name, Reason: "its token realm is on another host, " + u.Host + "; see authHosts", Foreign: true}
	}
	return u, nil
}

// parseChallenges picks the challenge to meet: Bearer over Basic. Nil where there is neither.
func parseChallenges(headers []string) *challenge {
	var found *challenge
	for _, h := range headers {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(h), " ")
		switch strings.ToLower(scheme) {
		case "bearer":
			p := parameters(rest)
			if p["realm"] != "" {
				return &challenge{realm: p["realm"], service: p["service"]}
			}
		case "basic":
			found = &challenge{basic: true}
		}
	}
	return found
}

// parameters reads auth-params: name=token or name="quoted string", with commas between.
func parameters(s string) map[string]string {
	p := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return p
		}
		var value string
		if value, s, ok = quoted(strings.TrimLeft(rest, " ")); !ok {
			value, s, _ = strings.Cut(rest, ",")
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := p[name]; !twice {
			p[name] = strings.TrimSpace(value)
		}
	}
}

// quoted reads a quoted string (RFC 9110, section 5.6.4) and what follows it.
func quoted(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i < len(s) {
				b.WriteByte(s[i])
			}
		default:
			b.WriteByte(s[i])
		}
	}
	return "", s, false
}

// String keeps a realm out of logs: it may hold a query.
func (c challenge) String() string { return fmt.Sprintf("challenge(basic=%t)", c.basic) }
