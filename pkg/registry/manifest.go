// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tagpin/tagpin/pkg/ref"
)

const (
	// MaxManifest bounds the body of a manifest, as the distribution specification asks registries to at least take.
	MaxManifest = 4 << 20
	// maxDrain is how much of a body is read only to use the connection again.
	maxDrain = 16 << 10
	// maxRedirects bounds the hops of one request.
	maxRedirects = 3
)

// accept has every type of index and manifest, and not schema 1: with fewer, one tag has several digests, as a registry
// then converts, or picks a platform (docker-registry 2.8).
var accept = []string{
	string(types.OCIImageIndex), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}

// Manifest is a registry's answer with status 200.
type Manifest struct {
	MediaType string   // Content-Type without parameters
	Digests   []string // every Docker-Content-Digest header, as sent
	Body      []byte   // of a GET: all of it, at most MaxManifest
}

// IsIndex tells an index or manifest list from an image's manifest.
func (m *Manifest) IsIndex() bool { return types.MediaType(m.MediaType).IsIndex() }

// Manifest asks for the manifest that r's digest, or where it has none its tag, names: with method HEAD for its headers,
// with GET for its body too. It presents auth when it is challenged. In a known repository that is one request; at most
// it is three: challenge, token, manifest. What is no answer with status 200 is an *Error.
func (c *Client) Manifest(ctx context.Context, method string, r ref.Reference, auth authn.AuthConfig) (*Manifest, error) {
	if err := c.Init(); err != nil {
		return nil, &Error{Host: r.Host(), Reason: err.Error(), err: err}
	}
	l := c.lookup(r, auth)
	release, err := l.enter(ctx) // within the caller's time: the registry's begins with the request
	if err != nil {
		return nil, err
	}
	defer release()
	asking, cancel := context.WithTimeout(ctx, l.host.Timeout)
	defer cancel()
	m, err := l.ask(asking, method)
	if err != nil && ctx.Err() == nil {
		l.punish(err)
	}
	return m, err
}

// lookup is one request and what it needs.
type lookup struct {
	client *Client
	state  *state
	host   Host
	named  bool
	api    string // host that is asked
	path   string
	name   string // tag or digest
	auth   authn.AuthConfig
	http   *http.Client
	*endpoint
}

func (c *Client) lookup(r ref.Reference, auth authn.AuthConfig) *lookup {
	host := withDefaults(c.Host(r.Host()))
	l := &lookup{
		client: c, state: c.state, host: host, named: c.ExplainAll || c.Named(r.Host()), api: apiHost(r.Host()), path: r.Path(), auth: auth,
		name: r.Digest().String(), endpoint: c.state.endpoint(host),
	}
	if l.name == "" {
		l.name = r.Tag()
	}
	transport, ok := c.state.transports[r.Host()]
	if !ok {
		transport = c.state.shared
	}
	l.http = &http.Client{Transport: transport, CheckRedirect: l.redirect}
	return l
}

func withDefaults(h Host) Host {
	if h.Timeout <= 0 {
		h.Timeout = DefaultTimeout
	}
	if h.MaxInFlight <= 0 {
		h.MaxInFlight = DefaultMaxInFlight
	}
	if h.RequestsPerSecond <= 0 {
		h.RequestsPerSecond = DefaultRequestsPerSecond
	}
	return h
}

// redirect lets a request go on to another place: a few times, over TLS, and without credentials.
func (l *lookup) redirect(r *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return l.refuse("more than %d redirects", maxRedirects)
	case r.URL.Scheme != "https" && (!l.host.Insecure || r.URL.Host != l.api):
		return l.refuse("redirect to %s, not over TLS", r.URL.Host)
	case r.URL.User != nil:
		return l.refuse("redirect to %s with credentials in the URL", r.URL.Host)
	}
	if r.URL.Host != l.api {
		r.Header.Del("Authorization")
	}
	return nil
}

func (l *lookup) refuse(format string, args ...any) error {
	return &Error{Host: l.host.Name, Reason: fmt.Sprintf(format, args...), Refused: true}
}

func (l *lookup) scheme() string {
	if l.host.Insecure {
		return "http"
	}
	return "https"
}

// ask sends the request with what is known of the registry, and once more with what its challenge says.
func (l *lookup) ask(ctx context.Context, method string) (*Manifest, error) {
	header, err := l.remembered(ctx)
	if err != nil {
		return nil, err
	}
	m, challenged, err := l.send(ctx, method, header)
	if challenged == nil {
		return m, err
	}
	l.forget()
	again, authErr := l.authorize(ctx, *challenged)
	switch {
	case authErr != nil:
		return nil, authErr
	case again == "": // nothing better to present
		return nil, err
	}
	m, _, err = l.send(ctx, method, again)
	return m, err
}

// send makes one request. challenged is not nil where the answer is a challenge that can be met.
func (l *lookup) send(ctx context.Context, method, authorization string) (m *Manifest, challenged *challenge, err error) {
	u := url.URL{Scheme: l.scheme(), Host: l.api, Path: "/v2/" + l.path + "/manifests/" + l.name}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, nil, &Error{Host: l.host.Name, Reason: "no valid address", err: err, Refused: true}
	}
	req.Header["Accept"] = accept
	req.Header.Set("User-Agent", l.client.userAgent())
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return nil, nil, transportError(l.host.Name, l.named, err)
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		e := &Error{Host: l.host.Name, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header), Presented: authorization != ""}
		if resp.StatusCode == http.StatusUnauthorized && resp.Request.URL.Host == l.api {
			challenged = parseChallenges(resp.Header.Values("WWW-Authenticate"))
		}
		return nil, challenged, e
	}
	m = &Manifest{Digests: resp.Header.Values("Docker-Content-Digest")}
	m.MediaType, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
	m.MediaType = strings.TrimSpace(m.MediaType)
	if method == http.MethodGet {
		m.Body, err = l.body(resp.Body)
	}
	return m, nil, err
}

func (l *lookup) body(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, MaxManifest+1))
	if err != nil {
		return nil, transportError(l.host.Name, l.named, err)
	}
	if len(body) > MaxManifest {
		return nil, l.refuse("manifest larger than %d MiB", MaxManifest>>20)
	}
	return body, nil
}

func (c *Client) userAgent() string {
	if c.UserAgent == "" {
		return "tagpin"
	}
	return c.UserAgent
}

// drain reads a little of what is left of a body, so that the connection can be used again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, maxDrain) }

// AsError is err as an *Error, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
