// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"
)

// gates are those that a look-up goes through.
func (l *lookup) gates() []gateKey {
	keys := []gateKey{l.everybody(), l.credential(), l.login(), l.repository()}
	if l.ownLogin() {
		if _, ok := l.state.tokens.Get(l.key()); !ok { // else the login is good
			keys = append(keys, l.logins())
		}
	}
	return keys
}

// everybody is closed while the registry is out of service.
func (l *lookup) everybody() gateKey { return gateKey{host: l.origin, all: true} }

// credential is closed while the registry limits its requests.
func (l *lookup) credential() gateKey { return gateKey{host: l.origin, who: l.who, limits: true} }

// login is closed by refused logins: for one namespace, as another one that holds the same credential
// may have spelled its images right.
func (l *lookup) login() gateKey {
	return gateKey{host: l.origin, who: l.who, namespace: l.req.Namespace}
}

// logins is closed when the registry has refused many different logins of a namespace.
func (l *lookup) logins() gateKey {
	return gateKey{host: l.origin, namespace: l.req.Namespace, logins: true}
}

// repository is closed while something is wrong with it alone, or with the login there.
func (l *lookup) repository() gateKey {
	return gateKey{host: l.origin, path: l.path, who: l.who}
}

// ownLogin reports whether the look-up has a credential of its namespace's own.
func (l *lookup) ownLogin() bool { return !l.anonymous() && !l.req.Shared }

// accepted notes that the registry has accepted the login.
func (l *lookup) accepted() {
	l.state.gates.succeeded(l.login())
	if l.ownLogin() {
		l.state.gates.forgive(l.logins(), string(l.who[:]))
	}
}

// served notes that the registry is in service and does not limit the requests of the credential.
func (l *lookup) served() {
	l.state.gates.succeeded(l.everybody())
	l.state.gates.succeeded(l.credential())
}

// judge closes the gate that an answer says is to be closed. What a tenant can bring about for one
// repository alone closes nothing for others: a slow answer, a 503, a 429 without a credential of
// the namespace's own, a failure of a token endpoint or of another host that the registry
// redirects to.
func (l *lookup) judge(e *Error) {
	shut := func(key gateKey, e *Error, b backoff) {
		l.state.gates.close(key, l.req.Namespace, e, b)
	}
	enough := func(key gateKey, t threshold, name string) bool {
		return l.state.gates.enough(key, t, name, l.req.Namespace, e)
	}
	// shutSeveral closes the repository, and key when several repositories have failed. Those below one
	// first part of a path count as one: a host that routes by path may have one server for them all.
	shutSeveral := func(key gateKey, t threshold, b backoff) {
		shut(l.repository(), e, b)
		first, _, _ := strings.Cut(l.path, "/")
		if enough(key, t, first) {
			several := *e
			several.RetryAfter = min(e.RetryAfter, maxOutage)
			shut(key, &several, b)
		}
	}
	all, repository := l.everybody(), l.repository()
	elsewhere := e.Token || e.via != ""
	if e.serving() {
		l.served()
	}
	switch {
	case e.remembered, e.Refused:
	case e.network == notConnected && !elsewhere:
		shut(all, e, unreachable)
	case e.Status == http.StatusServiceUnavailable && !elsewhere:
		shutSeveral(all, outage, unreachable)
	case e.Status == http.StatusTooManyRequests && e.via == "" && !e.foreign && l.ownLogin():
		shut(l.credential(), e, limited)
	case e.Status == http.StatusTooManyRequests && e.via == "" && !e.foreign:
		shutSeveral(l.credential(), tooMany, limited)
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusServiceUnavailable,
		e.network != unknown:
		shut(repository, e, unreachable)
	case e.login: // not every registry tells a wrong login from a repository that it may not see
		shut(repository, e, refusedLogin)
		if l.ownLogin() && enough(l.login(), wrongLogin, l.path) {
			shut(l.login(), e, refusedLogin)
		}
		if l.ownLogin() && enough(l.logins(), wrongLogins, string(l.who[:])) {
			many := *e
			many.Reason = "too many different credentials of this namespace were refused; remove the old ones"
			shut(l.logins(), &many, manyRefused)
			l.state.gates.succeeded(l.logins()) // as many may be tried again afterwards
		}
	}
}
