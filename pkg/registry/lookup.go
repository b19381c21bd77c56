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
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// maxHost bounds the host of a registry: a DNS name, a colon and a port (RFC 1035, section 2.3.4).
	maxHost = 253 + 6
	// maxDrain and drainTime are how much of a body is read, and how long, only to use the connection again.
	maxDrain  = 16 << 10
	drainTime = 100 * time.Millisecond
	// maxRedirects bounds the hops of one request.
	maxRedirects = 3
)

// lookup is one Request and what it needs.
type lookup struct {
	req    Request
	client *Client
	state  *state
	host   Host
	named  bool   // the config names the host
	api    string // host that is asked
	origin string // stands for the host and its settings where something is remembered of it
	path   string
	name   string // tag or digest
	auth   authn.AuthConfig
	who    identity // of auth
	http   *http.Client
	via    string // host that the registry redirected to
}

func (c *Client) lookup(req Request) *lookup {
	r := req.Ref
	_, at := c.state.find(r.Host())
	l := &lookup{
		req: req, client: c, state: c.state, host: c.state.hostOf(r.Host()),
		named: c.ExplainAll || c.Named(r.Host()), api: apiHost(at.host), path: r.Path(),
		origin: c.state.origin(r.Host()), name: r.Digest().String(),
		auth: req.Auth, who: c.state.identity(req.Auth),
	}
	if l.name == "" {
		l.name = r.Tag()
	}
	transport, ok := c.state.transports[at]
	if !ok {
		transport = c.state.shared
	}
	l.http = &http.Client{Transport: transport, CheckRedirect: l.redirect}
	return l
}

// redirect lets a request go on to another place: a few times, over TLS, and without credentials.
func (l *lookup) redirect(r *http.Request, via []*http.Request) error {
	r.URL.Host = spelling(r.URL.Host, r.URL.Scheme == "http")
	switch {
	case len(via) > maxRedirects:
		return l.refuse("more than %d redirects, the last one to %s", maxRedirects, r.URL.Host)
	case r.URL.Scheme != "https" && (!l.host.Insecure || r.URL.Host != l.api):
		return l.refuse("redirect to %s, not over TLS", r.URL.Host)
	case r.URL.User != nil:
		return l.refuse("redirect to %s with credentials in the URL", r.URL.Host)
	}
	if len(r.URL.Host) > maxHost {
		return l.refuse("redirect to %s, which is too long for a host", r.URL.Host)
	}
	r.Response = nil // which holds the answers before it
	l.via = ""
	if r.URL.Host != l.api {
		l.via = r.URL.Host
		r.Header.Del("Authorization")
	}
	return nil
}

// refuse is an error by our own rules. Hosts in it are others' texts, and bounded.
func (l *lookup) refuse(format string, args ...any) *Error {
	for i, arg := range args {
		if s, ok := arg.(string); ok && len(s) > maxHost {
			args[i] = s[:maxHost] + "…"
		}
	}
	return &Error{Host: l.host.Name, Reason: fmt.Sprintf(format, args...), Refused: true}
}

// anonymous tells whether there is no credential to present.
func (l *lookup) anonymous() bool { return l.auth == (authn.AuthConfig{}) }

func (l *lookup) scheme() string {
	if l.host.Insecure {
		return "http"
	}
	return "https"
}

// ask sends the request with what is known of the registry, and once more with what its challenge
// says. A token endpoint that was remembered and fails is asked no second time, unless it is still
// answering.
func (l *lookup) ask(ctx context.Context) (*Manifest, error) {
	header, met, final, failed := l.remembered(ctx)
	if failed != nil && (final || ctx.Err() != nil) {
		return nil, failed
	}
	m, challenged, err := l.send(ctx, header)
	if challenged != nil && (failed != nil || met == nil || *met != *challenged) {
		l.learn(*challenged)
		again := ""
		if met == nil || *met != *challenged {
			again, failed = l.authorize(ctx, *challenged)
		}
		switch {
		case failed != nil:
			return nil, failed
		case again != "": // there is something to present
			header = again
			m, challenged, err = l.send(ctx, again)
		}
	}
	e := AsError(err)
	switch {
	case e != nil && challenged != nil && challenged.basic && header != "":
		e.login = true
	case header != "" && err == nil, strings.HasPrefix(header, "Basic ") && e != nil &&
		(e.Status == http.StatusForbidden || e.Status == http.StatusNotFound):
		l.accepted()
	}
	return m, err
}

// send makes one request. challenged is not nil where the answer is a challenge that can be met.
func (l *lookup) send(ctx context.Context, authorization string) (m *Manifest, challenged *challenge, err error) {
	u := url.URL{Scheme: l.scheme(), Host: l.api, Path: "/v2/" + l.path + "/manifests/" + l.name}
	ctx, s := span.Call(ctx, "registry request")
	defer s.End()
	req, err := http.NewRequestWithContext(ctx, l.req.Method, u.String(), nil)
	if err != nil {
		return nil, nil, l.refuse("no valid address")
	}
	req.Header["Accept"] = accept
	req.Header.Set("User-Agent", l.client.userAgent())
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, evidence, err := l.do(req)
	if err != nil {
		l.count(l.req.Method, nil, s)
		return nil, nil, l.failed(err, evidence)
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	l.count(l.req.Method, resp, s)
	if resp.StatusCode == http.StatusOK {
		m, err := l.read(resp)
		return m, nil, err
	}
	if resp.StatusCode == http.StatusUnauthorized && l.via == "" {
		challenged = parseChallenges(resp.Header.Values("WWW-Authenticate"))
	}
	if l.req.Method == http.MethodHead && (resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented) && l.via == "" {
		learn(&l.state.noHead, l.origin, struct{}{}, l.req.Namespace, headLifetime)
	}
	return nil, challenged, &Error{
		Host: l.host.Name, via: l.via, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header), Presented: authorization != "",
	}
}

// do sends the request, and once more where the connection was an old one that the server closed before it answered: for
// HTTP/1.1 net/http does that itself, for HTTP/2 it does not.
//
// Where there is no answer, evidence is what the network has shown.
func (l *lookup) do(req *http.Request) (resp *http.Response, evidence network, err error) {
	for range 2 {
		a := l.attempt()
		l.via = ""
		resp, err = l.http.Do(req.WithContext(a.trace(req.Context())))
		if err == nil {
			return resp, unknown, nil
		}
		evidence = a.network(err)
		if !a.reused.Load() || a.begun.Load() || req.Context().Err() != nil {
			break
		}
	}
	return nil, evidence, err
}

// read takes what counts of an answer with status 200.
func (l *lookup) read(resp *http.Response) (m *Manifest, err error) {
	m = &Manifest{Digests: resp.Header.Values("Docker-Content-Digest"), Remaining: parseRemaining(resp.Header)}
	m.MediaType, _, _ = strings.Cut(resp.Header.Get("Content-Type"), ";")
	m.MediaType = strings.TrimSpace(m.MediaType)
	if resp.Request.Method != http.MethodGet {
		return m, nil
	}
	m.Body, m.release, err = l.readBody(resp.Request.Context(), resp.Body, resp.ContentLength)
	switch {
	case errors.Is(err, ErrNoRoom):
		return nil, &Error{
			Host: l.host.Name, via: l.via, err: err,
			Reason: "its manifest was not read, since too many large ones are being read; try again",
		}
	case errors.Is(err, errTooLarge):
		return nil, l.refuse("manifest larger than %d MiB", MaxManifest>>20)
	case err != nil:
		return nil, l.failed(err, broken)
	}
	return m, nil
}

// failed is the error of a request that got no whole answer, with what the network has shown.
func (l *lookup) failed(err error, evidence network) *Error {
	e := l.unanswered(err, evidence)
	e.via = l.via
	return e
}

func (l *lookup) unanswered(err error, evidence network) *Error {
	e := transportError(l.host.Name, l.named, err)
	e.network = evidence
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if evidence == unknown && !late && !e.Refused && !errors.Is(err, errNoDial) {
		e.Reason = "the request could not be sent"
	}
	return e
}

func (c *Client) userAgent() string {
	if c.UserAgent == "" {
		return "tagpin"
	}
	return c.UserAgent
}

// drain reads a little of what is left of a body, so that the connection can be used again. It may hang: then it is closed.
func drain(body io.ReadCloser) {
	late := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
}
