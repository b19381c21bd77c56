// SPDX-License-Identifier: Apache-2.0

package resolve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/tagpin/tagpin/pkg/cache"
	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry"
)

// Registry asks the registry: HEAD, and one GET and a hash where HEAD gives no digest. Each credential is tried until one
// is accepted, and last none. It remembers no answer.
type Registry struct {
	Client *registry.Client
}

// Resolve costs one request in a known repository.
func (g *Registry) Resolve(ctx context.Context, req Request) (Result, error) {
	var result Result
	err := g.eachCredential(req, func(ask registry.Request) (err error) {
		result.Digest, err = g.digest(ctx, ask)
		return err
	})
	return result, err
}

// Manifest gets the manifest that a reference names, by its digest where it has one, and checks it. It takes no Keychain,
// only Credentials, as Resolve does. It is not cached.
func (g *Registry) Manifest(ctx context.Context, req Request) (*registry.Manifest, error) {
	var m *registry.Manifest
	err := g.eachCredential(req, func(ask registry.Request) (err error) {
		m, err = g.get(ctx, ask)
		return err
	})
	return m, err
}

// maxMediaType bounds a media type: two names of 127 characters (RFC 6838, section 4.2), and as much
// for parameters.
const maxMediaType = 512

// eachCredential tries each candidate until one is accepted, and last none. Where one could not be read, a refusal, or that
// there is nothing to see, is not the last word.
func (g *Registry) eachCredential(req Request, try func(registry.Request) error) error {
	var first error
	own := false // an error says nothing to other namespaces
	candidates, unread := toTry(req.Credentials)
	place := new(registry.Place)
	defer place.Leave()
	for _, cred := range candidates {
		err := try(registry.Request{
			Ref: req.Ref, Auth: cred.Auth, Shared: cred.Shared, Namespace: req.Namespace, Sender: req.Sender,
			Place: place, Begin: req.Begin,
		})
		if err == nil || errors.Is(err, cache.ErrStarted) {
			return err
		}
		if e := registry.AsError(err); e != nil && e.OfNamespace() {
			own = true
		}
		err = classify(req.Ref, cred, err)
		if first == nil { // what the tenant's own credential got is what helps
			first = err
		}
		if !another(err) {
			break
		}
	}
	if own {
		first = &crowded{first, req.Namespace}
	}
	if unread && (errors.Is(first, failure.Unauthorized) || errors.Is(first, failure.NotFound)) {
		return failure.Errorf(failure.Unavailable, "%s: not found or not allowed without a pull secret or a cloud credential that could not be read", req.Ref.Host())
	}
	return first
}

// toTry is what is presented to the registry, in order: at most keychain.MaxCandidates credentials,
// and last none. unread reports whether a credential is missing because it could not be read.
func toTry(credentials []keychain.Credential) (candidates []keychain.Credential, unread bool) {
	candidates = make([]keychain.Credential, 0, len(credentials)+1)
	for _, cred := range credentials {
		switch {
		case cred.Unread:
			unread = true
		case len(candidates) < keychain.MaxCandidates:
			candidates = append(candidates, cred)
		}
	}
	return append(candidates, keychain.Credential{}), unread
}

// another tells whether another credential may get another answer: where this one was refused, and where it was shown and
// nothing found, since some registries hide by 404 what a credential may not see.
func another(err error) bool {
	e := registry.AsError(err)
	return errors.Is(err, failure.Unauthorized) || errors.Is(err, failure.NotFound) && e != nil && e.Presented
}

func (g *Registry) digest(ctx context.Context, ask registry.Request) (digest.Digest, error) {
	host := ask.Ref.Host()
	if g.Client.Host(host).Verify || g.Client.HeadRefused(host) {
		return g.hash(ctx, ask)
	}
	ask.Method = http.MethodHead
	m, err := g.Client.Manifest(ctx, ask)
	if err != nil {
		if e := registry.AsError(err); e != nil && !e.Token && refusesHead(e.Status) {
			return g.hash(ctx, ask)
		}
		return "", err
	}
	if known(m.MediaType) {
		if d, err := single(m.Digests); err == nil && d != "" {
			return d, nil
		}
	}
	if m.Remaining == 0 {
		return "", failure.Errorf(failure.Unavailable, "%s: no pull is left of the registry's quota, and without one its answer is not enough", host)
	}
	return g.hash(ctx, ask)
}

// refusesHead tells the answers to HEAD that a GET may contradict: some registries refuse or hide the method. Never after
// 401, 429 or a server's error: a GET counts against pull quotas.
func refusesHead(status int) bool {
	switch status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// hash gets the manifest and hashes exactly its bytes.
func (g *Registry) hash(ctx context.Context, ask registry.Request) (digest.Digest, error) {
	m, err := g.get(ctx, ask)
	if err != nil {
		return "", err
	}
	defer m.Release()
	return digest.SHA256.FromBytes(m.Body), nil
}

func (g *Registry) get(ctx context.Context, ask registry.Request) (*registry.Manifest, error) {
	ask.Method = http.MethodGet
	m, err := g.Client.Manifest(ctx, ask)
	if err != nil {
		return nil, err
	}
	err = Check(m)
	if want := ask.Ref.Digest(); err == nil && want != "" && want != want.Algorithm().FromBytes(m.Body) {
		err = invalid("the manifest's bytes have another digest than the one asked for")
	}
	if err != nil {
		m.Release()
		return nil, fmt.Errorf("%s: %w", ask.Ref.Host(), err)
	}
	return m, nil
}

// Check tells whether the body of a GET is a manifest or index whose media type and digest header agree with it. Its
// errors are failure.Invalid.
func Check(m *registry.Manifest) error {
	if types.MediaType(m.MediaType).IsSchema1() {
		return invalid("the tag is a Docker schema 1 manifest, which no current runtime pulls")
	}
	if !known(m.MediaType) {
		return invalid("the answer is no manifest but of another content type")
	}
	if err := agrees(m); err != nil {
		return err
	}
	d, err := single(m.Digests)
	if err != nil {
		return err
	}
	if d != "" && d != digest.SHA256.FromBytes(m.Body) {
		return invalid("the manifest's bytes have another digest than its header says")
	}
	return nil
}

// agrees tells whether the body is what its media type says: an index or an image, not both (CVE-2021-41190).
func agrees(m *registry.Manifest) error {
	var body struct {
		SchemaVersion int       `json:"schemaVersion"`
		MediaType     shortText `json:"mediaType"`
		Manifests     present   `json:"manifests"`
		Config        present   `json:"config"`
		Layers        present   `json:"layers"`
	}
	if err := json.Unmarshal(m.Body, &body); err != nil {
		return invalid("the manifest is no JSON")
	}
	isIndex := types.MediaType(m.MediaType).IsIndex()
	switch {
	case body.SchemaVersion == 1:
		return invalid("the tag is a Docker schema 1 manifest, which no current runtime pulls")
	case body.MediaType != "" && string(body.MediaType) != m.MediaType:
		return invalid("the manifest and its header name different media types")
	case isIndex && bool(!body.Manifests || body.Layers || body.Config):
		return invalid("the index is no index")
	case !isIndex && bool(body.Manifests || !body.Config):
		return invalid("the manifest is no image manifest")
	}
	return nil
}

// present reports whether a field is there. It keeps no copy of the field, which may be as large as
// the manifest.
type present bool

func (p *present) UnmarshalJSON([]byte) error {
	*p = true
	return nil
}

// shortText is a media type. A string that is too long for one is not copied.
type shortText string

func (s *shortText) UnmarshalJSON(text []byte) error {
	if len(text) > maxMediaType {
		*s = "too long"
		return nil
	}
	return json.Unmarshal(text, (*string)(s))
}

func known(mediaType string) bool {
	m := types.MediaType(mediaType)
	return m.IsIndex() || m.IsImage() && !m.IsSchema1()
}

// single is the one well-formed sha256 digest of the headers; empty where there is none.
func single(headers []string) (digest.Digest, error) {
	if len(headers) == 0 || len(headers) == 1 && headers[0] == "" {
		return "", nil
	}
	d := digest.Digest(headers[0])
	if len(headers) > 1 || d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return "", invalid("the Docker-Content-Digest header is malformed")
	}
	return d, nil
}

// invalid is an answer that can't be used.
func invalid(cause string) error { return failure.New(failure.Invalid, errors.New(cause)) }

// classify puts a failure in its class. What a registry answers to a credential that is not the tenant's own is not told.
func classify(r ref.Reference, cred keychain.Credential, err error) error {
	e := registry.AsError(err)
	if e == nil {
		if errors.Is(err, failure.Invalid) && cred.Shared {
			return hidden(r)
		}
		if errors.Is(err, failure.Invalid) {
			return err
		}
		return failure.New(failure.Unavailable, err)
	}
	class := classOf(e)
	if cred.Shared && class != failure.Unavailable {
		return hidden(r)
	}
	return failure.New(class, err)
}

// hidden is the one answer to a credential that is not the tenant's own: what there is behind it is not for the tenant to
// learn, be it by the class of the failure.
func hidden(r ref.Reference) error {
	return failure.Errorf(failure.Unauthorized, "%s: not found or not allowed", r.Host())
}

func classOf(e *registry.Error) failure.Class {
	switch {
	case e.Status == http.StatusNotFound && !e.Token:
		return failure.NotFound
	case e.Withheld, e.Status == http.StatusUnauthorized, e.Status == http.StatusForbidden,
		e.Token && e.Status >= 400 && e.Status < 500 && e.Status != http.StatusTooManyRequests:
		return failure.Unauthorized
	case e.Refused, e.Status >= 300 && e.Status < 500 && e.Status != http.StatusTooManyRequests && e.Status != http.StatusRequestTimeout:
		return failure.Invalid
	}
	return failure.Unavailable
}
