// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tagpin/tagpin/pkg/ref"
)

// MaxManifest bounds the body of a manifest, as the distribution specification asks registries to at least take.
const MaxManifest = 4 << 20

// accept has every type of index and manifest, and not schema 1: with fewer, one tag has several digests, as a registry
// then converts, or picks a platform (docker-registry 2.8).
var accept = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// Request asks for the manifest that the digest of Ref, or where it has none its tag, names.
type Request struct {
	Ref    ref.Reference
	Method string // HEAD: the headers alone; GET
	// Auth is presented when the registry asks for it. The zero value is nobody.
	Auth authn.AuthConfig
	// Shared says that Auth is presented for all namespaces: what becomes of it in a repository that one of them chose must
	// not be felt by the others.
	Shared bool
	// Namespace is for whom it is asked; namespaces take turns. Empty: for nobody in particular.
	Namespace string
	// Sender is the address that asks for the namespace.
	Sender string
	// Place is the look-up's in the registry's queue; its owner leaves it. Nil: the request has its own.
	Place *Place
	// Begin is called when the request's turn has come, before anything is sent; its error ends the
	// request, and is returned as it is. Nil: nobody is asked.
	Begin func() error
}

// Manifest is a registry's answer with status 200.
type Manifest struct {
	MediaType string   // Content-Type without parameters
	Digests   []string // every Docker-Content-Digest header, as sent
	Body      []byte   // of a GET: all of it, at most MaxManifest; see Release
	// Remaining is how many pulls the registry says it still allows (Docker Hub: ratelimit-remaining); -1: it does not say.
	Remaining int

	release func() // nil: Body takes no room
}

// Release drops Body and gives back the room that it takes in the Client's Manifests.
func (m *Manifest) Release() {
	m.Body = nil
	if m.release != nil {
		m.release()
		m.release = nil
	}
}

// IsIndex tells an index or manifest list from an image's manifest.
func (m *Manifest) IsIndex() bool { return types.MediaType(m.MediaType).IsIndex() }

// Manifest makes a request, when it is its turn and no gate is closed. In a known repository that is one request on the
// wire; without a token it is three: challenge, token, manifest; and one or two more if a remembered
// token endpoint has moved. What is no answer with status 200 is an *Error.
func (c *Client) Manifest(ctx context.Context, req Request) (*Manifest, error) {
	if err := c.Init(); err != nil {
		return nil, &Error{Host: req.Ref.Host(), Reason: err.Error(), err: err}
	}
	if name := req.Ref.Host(); len(name) > maxHost {
		return nil, &Error{Host: name[:maxHost] + "…", Reason: "the name of the host is too long", Refused: true}
	}
	if !sendable(req.Auth) {
		const reason = "the credential holds a byte that no header can"
		return nil, &Error{Host: req.Ref.Host(), Reason: reason, Withheld: true}
	}
	l := c.lookup(req)
	turn, err := l.turn(ctx)
	if err != nil {
		return nil, err
	}
	answered := false
	defer func() { turn.end(answered) }()
	leave, err := l.get(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	asking, cancel := context.WithTimeout(ctx, l.host.Timeout) // within the caller's time: the registry's begins now
	defer cancel()
	m, err := l.ask(asking)
	if e := AsError(err); e != nil && ctx.Err() == nil {
		answered = e.Status != 0 || e.network == broken // somebody is there
		l.judge(e)
	}
	if err == nil {
		answered = true
		l.served()
	}
	return m, err
}

// get waits until a manifest may be read, if that is the request.
func (l *lookup) get(ctx context.Context) (leave func(), err error) {
	if l.req.Method != http.MethodGet || l.client.Gets == nil {
		return func() {}, nil
	}
	if leave, err = l.client.Gets.Enter(ctx, l.req.Namespace, 1); err != nil {
		return nil, &Error{
			Host: l.host.Name, via: l.via, err: fmt.Errorf("%w: %w", ErrNoRoom, err),
			Reason: "its manifest was not read, since too many are being read; try again",
		}
	}
	return leave, nil
}

// HeadRefused tells whether the registry answered a HEAD just now that it takes none at all: then a GET need not be
// preceded by one.
func (c *Client) HeadRefused(host string) bool {
	if c.Init() != nil {
		return false
	}
	_, ok := c.state.noHead.Get(c.state.origin(host))
	return ok
}

// parseRemaining reads a number of pulls, such as 76;w=21600 (docs.docker.com: pull rate of Docker Hub).
func parseRemaining(h http.Header) int {
	text, _, _ := strings.Cut(h.Get("RateLimit-Remaining"), ";")
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 0 {
		return -1
	}
	return n
}
