// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

// maxOutage bounds how long all requests wait because some repositories of a registry are out of
// service, or limit their requests.
const maxOutage = time.Minute

var (
	unreachable = backoff{time.Second, 30 * time.Second}
	limited     = backoff{5 * time.Second, time.Minute}
	// refusedLogin is long because some registries lock a user out after a few wrong logins.
	refusedLogin = backoff{30 * time.Second, 10 * time.Minute}
	// manyRefused does not grow, because one of the credentials may have been renewed, and the others
	// are shown before it each time.
	manyRefused = backoff{30 * time.Second, 30 * time.Second}
)

var (
	// wrongLogin is for one credential: if one repository refuses it, perhaps the repository's name is
	// wrong.
	wrongLogin = threshold{count: 3, forget: maxRetryAfter}
	// wrongLogins is for the credentials of a namespace. A lookup tries at most 16
	// (keychain.MaxCandidates), and all but the last one may be out of date.
	wrongLogins = threshold{count: 16, forget: maxRetryAfter, again: true}
	// outage is for repositories: behind a host that routes by path, a repository may have a server of
	// its own. The same is true for a limit of requests.
	outage = threshold{count: 3, forget: maxOutage}
)

// gate returns the key of one of the lookup's gates.
func (l *lookup) gate(kind gateKind) gateKey {
	key := gateKey{kind: kind, origin: l.origin()}
	switch kind {
	case ofRegistry:
	case ofCredential:
		key.identity = l.identity
	case ofLogin: // another namespace with the same credential may have the right repository
		key.identity, key.namespace = l.identity, l.Namespace
	case ofNamespace:
		key.namespace = l.Namespace
	case ofRepository:
		key.identity, key.path = l.identity, l.Ref.Path()
	}
	return key
}

// gates returns the gates that the lookup's requests have to pass.
func (l *lookup) gates() []gateKey {
	keys := []gateKey{
		l.gate(ofRegistry), l.gate(ofCredential), l.gate(ofLogin), l.gate(ofRepository),
	}
	if _, hasToken := l.client.tokens.Get(l.tokenKey()); l.ownLogin() && !hasToken {
		keys = append(keys, l.gate(ofNamespace))
	}
	return keys
}

// ownLogin reports whether the credential belongs to the namespace.
func (l *lookup) ownLogin() bool { return !l.anonymous() && !l.credential.Shared }

// accepted records that the registry has accepted the credential.
func (l *lookup) accepted() {
	l.client.gates.forgive(l.gate(ofLogin))
	if l.ownLogin() {
		l.client.gates.forgiveOne(l.gate(ofNamespace), string(l.identity[:]))
	}
}

// served records that the registry is in service, and does not limit requests with the credential.
func (l *lookup) served() {
	l.client.gates.forgive(l.gate(ofRegistry))
	l.client.gates.forgive(l.gate(ofCredential))
}

// judge closes the gates that an answer says to close. A tenant can cause some answers for one
// repository alone: a slow answer, a 503, a 429 without a credential of the namespace's own, and
// failures of a token endpoint or of another host that the registry redirects to. One such answer
// closes only its own repository. A 503 or 429 of three repositories closes more (closeSeveral).
func (l *lookup) judge(e *requestError) {
	ofManifest := !e.token && e.via == "" // the answer is the registry's own
	answered := e.status != 0 && e.status < 500 && e.status != http.StatusTooManyRequests
	if ofManifest && answered && !e.remembered {
		l.served()
	}
	switch limits := e.status == http.StatusTooManyRequests && e.via == "" && !e.foreign; {
	case e.remembered, e.class != "":
	case e.evidence == network.NotConnected && ofManifest:
		l.close(ofRegistry, e, unreachable)
	case e.status == http.StatusServiceUnavailable && ofManifest:
		l.closeSeveral(ofRegistry, e, unreachable)
	case limits && l.ownLogin():
		l.close(ofCredential, e, limited)
	case limits:
		l.closeSeveral(ofCredential, e, limited)
	case e.status == http.StatusTooManyRequests, e.status == http.StatusServiceUnavailable,
		e.evidence != network.Nothing:
		l.close(ofRepository, e, unreachable)
	case e.login:
		l.closeLogin(e)
	}
}

func (l *lookup) close(kind gateKind, e *requestError, b backoff) {
	l.client.gates.close(l.gate(kind), l.Namespace, e, b)
}

// closeSeveral closes the gate of the repository, and that of kind if several repositories have
// failed. Those with the same first part of their path count once, because a host that routes by
// path may have one server for all of them.
func (l *lookup) closeSeveral(kind gateKind, e *requestError, b backoff) {
	l.close(ofRepository, e, b)
	first, _, _ := strings.Cut(l.Ref.Path(), "/")
	if l.client.gates.fail(l.gate(kind), outage, first, l.Namespace, e) {
		several := *e
		several.retryAfter = min(e.retryAfter, maxOutage)
		l.close(kind, &several, b)
	}
}

// closeLogin closes the gate of a repository that has refused a login, and further ones if several
// repositories or logins have failed: a registry may answer in the same way to a wrong login and to
// a repository that the login may not see.
func (l *lookup) closeLogin(e *requestError) {
	l.close(ofRepository, e, refusedLogin)
	if !l.ownLogin() {
		return
	}
	g, identity := l.client.gates, string(l.identity[:])
	if g.fail(l.gate(ofLogin), wrongLogin, l.Ref.Path(), l.Namespace, e) {
		l.close(ofLogin, e, refusedLogin)
	}
	if g.fail(l.gate(ofNamespace), wrongLogins, identity, l.Namespace, e) {
		many := *e
		many.reason = "too many different credentials of this namespace were refused; " +
			"remove the old ones"
		l.close(ofNamespace, &many, manyRefused)
		g.forgive(l.gate(ofNamespace)) // then as many may be tried again
	}
}
