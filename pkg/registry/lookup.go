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
	credential keychain.Credential
	identity   auth.Identity // of the credential
	realms     auth.Realms
	slot       *slot  // of the whole Request
	via        string // the host that the registry has redirected the request to; "" if it has not
	followed   bool   // another registry has redirected its request to here
	final      bool   // the answer is that of a registry that was followed to
}

func (c *Client) lookup(req Request, credential keychain.Credential, s *slot) *lookup {
	t := c.find(req.Ref.Host())
	return &lookup{
		Request: req, target: t, client: c, slot: s,
		credential: credential, identity: auth.Identify(c.secret[:], credential.Auth),
		realms: auth.Realms{
			Host: t.api(), AuthHosts: t.AuthHosts, Insecure: t.Insecure, Plain: c.isPlain,
		},
	}
}

func (l *lookup) anonymous() bool { return l.credential.Auth == authn.AuthConfig{} }

// tryEach tries each credential until one is accepted. The error is that of the first credential,
// because the tenant's own come first. But if the registry was unavailable to a later one, which
// may be the right one, it is failure.Unavailable. Without a credential it is only after a refusal:
// one that was accepted, and is answered by 404, is the right one.
func tryEach[T any](c *Client, req Request, try func(*lookup) (T, error)) (result T, err error) {
	if err := c.Init(); err != nil {
		return result, &requestError{host: req.Ref.Host(), reason: err.Error(), err: err}
	}
	credentials, unread := candidates(req.Credentials)
	s := new(slot)
	defer s.leave()
	var first *requestError
	ofNamespace := false
	for _, credential := range credentials {
		result, err := try(c.lookup(req, credential, s))
		e := asError(err)
		if e == nil { // there is an answer, or an error of Begin
			return result, err
		}
		ofNamespace = ofNamespace || e.ofNamespace
		if credential.Shared && e.Class() != failure.Unavailable {
			e = &requestError{host: e.host, reason: "not found or not allowed", class: failure.Unauthorized}
		}
		switch {
		case first == nil:
			first = e
		case e.Class() == failure.Unavailable &&
			(first.Class() == failure.Unauthorized || credential != keychain.Credential{}):
			e = e.after(first)
			first = e
		}
		if !e.triesNext() {
			break
		}
	}
	if unread && first.Class() != failure.Unavailable && first.Class() != failure.Invalid {
		return result, &requestError{host: first.host, reason: "not found or not allowed without " +
			"a pull secret or a cloud credential that could not be read"}
	}
	failed := *first
	failed.ofNamespace = ofNamespace
	return result, &failed
}

// candidates returns the credentials to try; the last one is anonymous. unread is true if there may
// be another one that could not be read.
func candidates(credentials []keychain.Credential) (found []keychain.Credential, unread bool) {
	found = make([]keychain.Credential, 0, len(credentials)+1)
	for _, credential := range credentials {
		switch a := credential.Auth; {
		case credential.Unread:
			unread = true
		case a.Password != "" && a.IdentityToken != "": // the kubelet uses the password alone
			identity := credential
			identity.Auth = authn.AuthConfig{IdentityToken: a.IdentityToken}
			credential.Auth.IdentityToken = ""
			found = append(found, credential, identity)
		default:
			found = append(found, credential)
		}
	}
	return append(found[:min(len(found), keychain.MaxCandidates)], keychain.Credential{}), unread
}

// digest asks by HEAD, and by GET if the answer is not enough.
func (l *lookup) digest(ctx context.Context) (digest.Digest, error) {
	if _, refused := l.client.noHead.Get(l.origin()); refused || l.Verify {
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
	if d := m.digest(); d != "" && supported(m.MediaType) {
		return d, nil
	}
	if l.final {
		return "", l.invalid("the registry that it redirects to gives no digest by HEAD")
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
