// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/registry/network"
)

var (
	unreachable = backoff{time.Second, maxOutage}
	limited     = backoff{5 * time.Second, time.Minute}
	// refusedLogin is long because some registries lock a user out after a few wrong logins.
	refusedLogin = backoff{30 * time.Second, 10 * time.Minute}
	// manyRefused does not grow, because one of the credentials may have been renewed, and the others
	// are shown before it each time.
	manyRefused = backoff{30 * time.Second, 30 * time.Second}
)

const (
	// maxRefusing is how many repositories may refuse a credential before a namespace shows it to no
	// other one: if one refuses it, perhaps the repository's name is wrong.
	maxRefusing = 3
	// maxRefused is how many credentials of a namespace may be refused. A lookup tries at most 16
	// (keychain.MaxCandidates), and all but the last one may be out of date.
	maxRefused = 16
)

// gate returns the key of one of the lookup's gates.
func (l *lookup) gate(kind gateKind) gateKey {
	key := gateKey{kind: kind, origin: l.origin()}
	switch kind {
	case ofServer:
		key.origin = l.server()
	case ofPart:
		key.path = l.firstPart()
	case ofCredential:
		key.identity, key.path = l.identity, l.firstPart()
	case ofOwnCredential: // a team's own server below a path of the host may limit what it likes
		key.identity, key.namespace = l.identity, l.Namespace
	// Refused logins are counted by host, also at a mirror. Otherwise a namespace could try any number
	// of logins there, each for another made-up registry.
	case ofLogin: // another namespace with the same credential may have the right repository
		key.origin, key.identity, key.namespace = l.server(), l.identity, l.Namespace
	case ofNamespace:
		key.origin, key.namespace = l.server(), l.Namespace
	case ofRepository:
		key.identity, key.path = l.identity, l.Ref.Path()
	}
	return key
}

// gates returns the gates that the lookup's requests have to pass.
func (l *lookup) gates() []gateKey {
	keys := []gateKey{
		l.gate(ofServer), l.gate(ofPart), l.gate(ofCredential), l.gate(ofOwnCredential),
		l.gate(ofLogin), l.gate(ofRepository),
	}
	if _, hasToken := l.client.tokens.Get(l.tokenKey()); l.ownLogin() && !hasToken {
		keys = append(keys, l.gate(ofNamespace))
	}
	return keys
}

// firstPart returns the first part of the repository's path, with a slash. A host that routes by
// path may have one server for all repositories below it.
func (l *lookup) firstPart() string {
	first, _, _ := strings.Cut(l.Ref.Path(), "/")
	return first + "/"
}

// routed returns the repositories that may have the same server as the lookup's.
func (l *lookup) routed() repositories { return repositories{l.origin(), l.firstPart()} }

// ownLogin reports whether the credential belongs to the namespace.
func (l *lookup) ownLogin() bool { return !l.anonymous() && !l.credential.Shared }

// accepted records that the registry has accepted the credential.
func (l *lookup) accepted() {
	l.client.gates.refusals.Remove(l.gate(ofLogin))
	if l.ownLogin() {
		l.client.gates.accept(l.gate(ofNamespace), string(l.identity[:]))
	}
}

// judge closes the gates that an answer says to close. A tenant can cause any answer, with a server
// of its own for some path of the host, so an answer counts for no more than what has the same
// server: a 503 for repositories whose path has the same first part, and a 429 for requests with
// the same credential there, and for a namespace's own credential in the namespace. Slow answers,
// and failures of a token endpoint or of another host that the registry redirects to, are those of
// one repository. No tenant can keep others from connecting, so a failed connection counts for all.
func (l *lookup) judge(e *requestError) {
	ofManifest := !e.token && e.via == "" // the answer is the registry's own
	switch {
	case e.remembered, e.ofNamespace, e.class != "":
	case e.evidence == network.NotConnected && ofManifest:
		l.close(ofServer, e, unreachable)
	case e.status == http.StatusServiceUnavailable && ofManifest:
		l.close(ofPart, e, unreachable)
	case e.status == http.StatusTooManyRequests && e.via == "" && !e.foreign:
		if l.ownLogin() {
			l.close(ofOwnCredential, e, limited)
		}
		l.close(ofCredential, e, limited)
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

// closeLogin closes the gate of a repository that has refused a login, and further ones if several
// repositories or logins have failed: a registry may answer in the same way to a wrong login and to
// a repository that the login may not see.
func (l *lookup) closeLogin(e *requestError) {
	l.close(ofRepository, e, refusedLogin)
	if !l.ownLogin() {
		return
	}
	g, ofThis, ofAll := l.client.gates, l.gate(ofLogin), l.gate(ofNamespace)
	enough := g.refuse(ofThis, maxRefusing, l.Ref.Path(), l.Namespace)
	if enough || g.has(ofThis) { // once it was closed, one more refusal is enough
		l.close(ofLogin, e, refusedLogin)
	}
	if g.refuse(ofAll, maxRefused, string(l.identity[:]), l.Namespace) {
		many := *e
		many.reason = "too many different credentials of this namespace were refused; " +
			"remove the old ones"
		many.detail = ""
		l.close(ofNamespace, &many, manyRefused)
		g.refusals.Remove(ofAll) // then as many may be tried again
	}
}
