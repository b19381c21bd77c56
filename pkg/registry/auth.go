// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/net/http/httpguts"
)

// maxRealm bounds the address of a token endpoint, and the name of its service.
const maxRealm = 2 << 10

// challengeLifetime is how long the realm of a host is remembered.
const challengeLifetime = 10 * time.Minute

// identity stands for a credential where something is remembered of it: a keyed hash, for a password may be of a megabyte,
// and is not to be kept. The zero value is nobody.
type identity [sha256.Size]byte

func (s *Learned) identity(a authn.AuthConfig) identity {
	if a == (authn.AuthConfig{}) {
		return identity{}
	}
	h := hmac.New(sha256.New, s.secret[:])
	var size [8]byte
	for _, part := range []string{a.Username, a.Password, a.Auth, a.IdentityToken, a.RegistryToken} {
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		h.Write(size[:])
		h.Write([]byte(part))
	}
	return identity(h.Sum(nil))
}

// tokenKey is what a token is good for.
type tokenKey struct {
	host, path string
	who        identity
}

func (l *lookup) key() tokenKey { return tokenKey{l.origin, l.path, l.who} }

// challengeKey is where a challenge is expected again: at a whole registry if path is empty, else
// in one repository. Behind a host that routes by path, a repository may name a token endpoint of
// its own, which others must not be led to.
type challengeKey struct{ origin, path string }

// stated is a challenge as a repository of a registry has stated it.
type stated struct {
	challenge challenge
	path      string
	at        time.Time
}

// known returns the challenge that is expected, that of the repository before that of the registry.
func (l *lookup) known() (key challengeKey, s stated, ok bool) {
	for _, key := range []challengeKey{{l.origin, l.path}, {l.origin, ""}} {
		if known, ok := l.state.challenges.Get(key); ok {
			return key, known.value, true
		}
	}
	return challengeKey{}, stated{}, false
}

// learn remembers the challenge of an answer instead of what was remembered before.
func (l *lookup) learn(ch challenge) {
	l.state.tokens.Remove(l.key())
	l.state.challenges.Remove(challengeKey{l.origin, l.path})
	key := challengeKey{origin: l.origin}
	if !l.own(ch) {
		key.path = l.path
	}
	if len(ch.realm)+len(ch.service) > 2*maxRealm {
		l.state.challenges.Remove(key)
		return
	}
	s := stated{ch, strings.Clone(l.path), time.Now()}
	learn(&l.state.challenges, key, s, l.req.Namespace, challengeLifetime)
}

// remembered is the Authorization header that was good before: it costs no request if there is one.
// If only the challenge is known it costs one, and met is that challenge: asking for another token
// at once would be of no use.
//
// final reports whether err is the answer: a moment ago, this repository has stated the challenge,
// as when several credentials are tried. Otherwise the challenge may be out of date, so that the
// registry is to be asked, and half of the time is left for it.
func (l *lookup) remembered(
	ctx context.Context,
) (header string, met *challenge, final bool, err error) {
	if header, ok := l.state.tokens.Get(l.key()); ok {
		return header.value, nil, false, nil
	}
	key, known, ok := l.known()
	if !ok {
		return "", nil, false, nil
	}
	ch := known.challenge
	if known.path == l.path && time.Since(known.at) < l.host.Timeout {
		header, err = l.authorize(ctx, ch)
		return header, &ch, true, err
	}
	half, cancel := context.WithTimeout(ctx, l.host.Timeout/2)
	defer cancel()
	header, err = l.authorize(half, ch)
	if err == nil {
		return header, &ch, false, nil
	}
	l.state.challenges.Remove(key) // until the registry says it again
	if half.Err() != nil {
		return "", nil, false, err // the request for a token goes on, and can be joined
	}
	return "", &ch, false, err
}

// authorize gives the Authorization header that meets a challenge; empty where there is nothing to present.
func (l *lookup) authorize(ctx context.Context, ch challenge) (header string, err error) {
	switch {
	case ch.basic:
		return basic(l.auth), nil
	case l.auth.RegistryToken != "":
		return "Bearer " + l.auth.RegistryToken, nil
	}
	return l.token(ctx, ch)
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

// sendable reports whether a header can hold the credential. A user name and a password are encoded
// first, and an identity token is sent in a form, so that they may hold any byte.
func sendable(a authn.AuthConfig) bool {
	return httpguts.ValidHeaderFieldValue(a.Auth) && httpguts.ValidHeaderFieldValue(a.RegistryToken)
}

// knownRealms are registries whose tokens are given by another host of the same operator.
var knownRealms = map[string]string{
	"registry-1.docker.io": "auth.docker.io",
	"registry.gitlab.com":  "gitlab.com",
}

// ownRealm reports whether a token endpoint is the registry's own: on its own host, or on one that
// a known pair or the config names.
func (l *lookup) ownRealm(u *url.URL) bool {
	plain := u.Scheme == "http"
	host := spelling(u.Host, plain)
	return host == l.api || host == knownRealms[l.api] ||
		slices.ContainsFunc(l.host.AuthHosts, func(h string) bool { return spelling(h, plain) == host })
}

// own reports whether a challenge asks for nothing from others than the registry: for a token of
// its own endpoint, or for the credential itself.
func (l *lookup) own(ch challenge) bool {
	if ch.basic {
		return true
	}
	u, err := url.Parse(ch.realm)
	if err != nil || !l.ownRealm(u) {
		return false
	}
	// Behind a host that routes by path, what stands below /v2/ may be answered by a repository's own
	// server. So may a path that is another one when it is cleaned.
	written := u.EscapedPath()
	clean := strings.TrimSuffix(written, "/") == strings.TrimSuffix(path.Clean(written), "/")
	return clean && !strings.Contains(written, "%") && written != "/v2" && !strings.HasPrefix(written, "/v2/")
}

// realm is the address of a token endpoint, where the registry may send credentials to: its own host, a known pair, or
// what the config names; over TLS, unless the registry itself is plain.
func (l *lookup) realm(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || len(text) > maxRealm {
		return nil, l.refuse("its token realm is no valid address")
	}
	u.Host = spelling(u.Host, u.Scheme == "http")
	own := l.ownRealm(u)
	switch {
	case u.User != nil:
		return nil, l.refuse("its token realm %s holds credentials", u.Host)
	case u.Scheme != "https" && (u.Scheme != "http" || !l.host.Insecure):
		return nil, l.refuse("its token realm %s is not over TLS", u.Host)
	case !own && !l.anonymous(): // without credentials there is nothing to give away
		e := l.refuse("its token realm is on another host, %s; see authHosts", u.Host)
		e.Refused, e.Withheld = false, true
		return nil, e
	}
	return u, nil
}
