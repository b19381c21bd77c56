// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/auth"
)

// Request asks for the digest or the manifest of a reference.
type Request struct {
	Ref ref.Reference
	// Route is how the registry is asked if it is a mirror. AtMirror returns it.
	Route Route
	// Credentials are tried in order, at most keychain.MaxCandidates, and then none.
	Credentials []keychain.Credential
	// Namespace is whom the lookup is for. Namespaces share what is bounded. It may be empty.
	Namespace string
	// Sender is the address that has sent the request for the namespace. It may be empty.
	Sender string
	// Begin is called before each HEAD and each GET, when nothing is left to wait for. The requests
	// that these need, such as that for a token, belong to them. If Begin returns an error, nothing
	// is sent, and the lookup ends with that error. It may be nil.
	Begin func() error
	// OnWait is called when the lookup has to wait for a turn of its namespace or for another lookup.
	// over is called after the wait, and goesOn says whether this lookup goes on. Such waits may also
	// come after Begin: for a second request, at another host, or for room for a large manifest.
	// OnWait may be nil.
	OnWait func() (over func(goesOn bool))
}

// Digest returns the digest of the manifest or index that a tag names (rules 1 to 5 of package
// resolve). In a known repository that is one HEAD request. The error has a class of package
// failure.
func (c *Client) Digest(ctx context.Context, req Request) (digest.Digest, error) {
	return tryEach(c, req, func(l *lookup) (digest.Digest, error) { return l.digest(ctx) })
}

// Manifest gets the manifest that a reference names, by its digest if it has one, and checks it.
// The error has a class of package failure.
func (c *Client) Manifest(ctx context.Context, req Request) (*Manifest, error) {
	return tryEach(c, req, func(l *lookup) (*Manifest, error) { return l.manifest(ctx) })
}

// lookup asks for a reference with one credential.
type lookup struct {
	Request
	target
	client     *Client
	resource   resource
	credential keychain.Credential
	identity   auth.Identity // of the credential
	realms     auth.Realms
	slot       *slot   // of the whole Request
	tried      []*gate // by the request that is under way
	paused     bool    // others may try the gates that the request has passed (passGatesAgain)
	via        string  // the host that the registry has redirected the request to; "" if it has not
	other      *visit  // of that host, or of a foreign token endpoint; nil if there is none
	visitor    bool    // the lookup is for the bounds of a visit, and tries no gate
	followed   bool    // the lookup is part of one at another registry, which has redirected to here
	final      bool    // the answer is that of a whole lookup at another registry
}

// lookup returns a lookup at a host, which is usually that of the reference.
func (c *Client) lookup(
	host string, req Request, credential keychain.Credential, s *slot,
) *lookup {
	t := c.find(host)
	return &lookup{
		Request: req, target: t, client: c, slot: s,
		credential: credential, identity: auth.Identify(c.secret[:], credential.Auth),
		realms: auth.Realms{
			Host: t.api(), API: req.Route.API, AuthHosts: t.AuthHosts, Insecure: t.Insecure,
			Plain: func(host string) bool { return c.isPlain(host, t.lenient) },
		},
	}
}

// origin stands for the registry. A mirror is another one for each registry that it stands for:
// whoever chooses the host of an image may cause the answers of a mirror that passes requests on to
// that host, and these say nothing about images of other hosts.
func (l *lookup) origin() string {
	if l.Route == (Route{}) {
		return l.server()
	}
	return l.server() + " " + l.Route.API + " " + l.Route.Source
}

func (l *lookup) anonymous() bool { return l.credential.Auth == authn.AuthConfig{} }

// tryEach tries each credential until one is accepted. The error is that of the first credential,
// because the tenant's own come first. But if the registry was unavailable to a later one, which
// may be the right one, it is failure.Unavailable. An unavailable answer to the last, anonymous
// attempt counts only if the first credential was refused: if that got a 404, it was accepted, and
// the 404 stands. But the 404 to a credential that all namespaces share stands only if each later
// attempt gets one too: the registry may answer 404 because the credential may not see the image.
func tryEach[T any](c *Client, req Request, try func(*lookup) (T, error)) (result T, err error) {
	if err := c.Init(); err != nil {
		return result, &requestError{host: req.Ref.Host(), reason: err.Error(), err: err}
	}
	credentials, unread := candidates(req.Credentials)
	s := new(slot)
	defer s.leave()
	var first *requestError
	firstShared, afterOwn := false, false
	for _, credential := range credentials {
		result, err := try(c.lookup(req.Ref.Host(), req, credential, s))
		e := asError(err)
		if e == nil { // there is an answer, or an error of Begin
			return result, err
		}
		afterOwn = afterOwn || e.ofNamespace
		if credential.Shared && e.Class() != failure.Unavailable {
			e = c.hideShared(e)
		}
		maybeHidden := firstShared && first.Class() == failure.NotFound
		switch {
		case first == nil:
			first, firstShared = e, credential.Shared
		case maybeHidden && e.Class() == failure.Unauthorized:
			first = c.mayBeHidden(first, e)
		case e.Class() == failure.Unavailable &&
			(maybeHidden || first.Class() == failure.Unauthorized || credential != keychain.Credential{}):
			e = e.after(first)
			first = e
		}
		if !e.triesNext() {
			break
		}
	}
	if unread && first.Class() != failure.Unavailable && first.Class() != failure.Invalid {
		const without = " without a pull secret or a cloud credential that could not be read"
		return result, &requestError{
			host: first.host, reason: "not found or not allowed" + without,
			detail: first.detailed() + without,
		}
	}
	failed := *first
	failed.afterOwn = afterOwn
	return result, &failed
}

// hideShared returns the error of a lookup with a credential that all namespaces share, as far as
// the caller may know it.
func (c *Client) hideShared(e *requestError) *requestError {
	hidden := &requestError{
		host: e.host, reason: "not found or not allowed", class: failure.Unauthorized,
		detail: e.detailed() + ", with a credential that all namespaces share",
	}
	if c.TellShared {
		hidden.class, hidden.presented = e.Class(), e.presented
	}
	if c.TellShared && c.ExplainAll {
		hidden.reason = hidden.detail
	}
	return hidden
}

// mayBeHidden returns the error of a lookup that got a 404 with a shared credential and was refused
// with the next one.
func (c *Client) mayBeHidden(notFound, refused *requestError) *requestError {
	hidden := *notFound
	hidden.class = failure.Unauthorized
	hidden.detail = notFound.detailed() + otherCredential + refused.detailed()
	if c.ExplainAll {
		hidden.reason = hidden.detail
	}
	return &hidden
}

// candidates returns the credentials to try; the last one is anonymous. unread is true if there may
// be another one that could not be read.
func candidates(credentials []keychain.Credential) (found []keychain.Credential, unread bool) {
	found = make([]keychain.Credential, 0, len(credentials)+1)
	var identities []keychain.Credential // tried last, as far as there is room
	for _, credential := range credentials {
		switch a := credential.Auth; {
		case credential.Unread:
			unread = true
		case a.Password != "" && a.IdentityToken != "": // the kubelet uses the password alone
			identity := credential
			identity.Auth = authn.AuthConfig{IdentityToken: a.IdentityToken}
			credential.Auth.IdentityToken = ""
			found, identities = append(found, credential), append(identities, identity)
		default:
			found = append(found, credential)
		}
	}
	room := max(0, keychain.MaxCandidates-len(found))
	found = append(found, identities[:min(len(identities), room)]...)
	return append(found[:min(len(found), keychain.MaxCandidates)], keychain.Credential{}), unread
}

// digest asks by HEAD, and by GET if the answer is not enough.
func (l *lookup) digest(ctx context.Context) (digest.Digest, error) {
	if _, refused := l.client.noHead.Get(l.routed()); refused || l.Verify {
		return l.hash(ctx)
	}
	m, err := l.request(ctx, http.MethodHead)
	if e := asError(err); e != nil && !e.token && !l.final {
		if refused, _ := refusesHead(e.status); refused {
			return l.hash(ctx)
		}
	}
	if err != nil {
		return "", err
	}
	if l.final {
		return m.resolved, nil
	}
	if d := m.digest(); d != "" && Supported(m.MediaType) {
		return d, nil
	}
	if m.remaining == 0 {
		return "", &requestError{host: l.Name, reason: "no pull is left of the registry's quota, " +
			"and without one its answer is not enough"}
	}
	return l.hash(ctx)
}

// refusesHead reports whether a GET may succeed after this answer to HEAD, because some registries
// refuse the method, or hide what they have from it. always is true if the registry will refuse
// each HEAD. No GET follows 401, 429 and the other server errors, since it counts against quotas.
func refusesHead(status int) (refused, always bool) {
	switch status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusNotAcceptable, http.StatusBadRequest:
		return true, false
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true, true
	}
	return false, false
}

// hash gets the manifest and hashes its bytes.
func (l *lookup) hash(ctx context.Context) (digest.Digest, error) {
	m, err := l.manifest(ctx)
	if err != nil {
		return "", err
	}
	defer m.Release()
	return digest.SHA256.FromBytes(m.Body), nil
}

// manifest gets the manifest and checks it.
func (l *lookup) manifest(ctx context.Context) (*Manifest, error) {
	m, err := l.request(ctx, http.MethodGet)
	if err != nil {
		return nil, err
	}
	if err := m.check(l.Ref.Digest()); err != nil {
		m.Release()
		return nil, l.invalid("%v", err)
	}
	return m, nil
}
