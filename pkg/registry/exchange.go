// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// maxDrain and drainTime bound what is read of a body only to use its connection again.
	maxDrain  = 16 << 10
	drainTime = 100 * time.Millisecond
	// maxURL bounds the address of a redirect, of which each request holds several. Those that are
	// signed have up to some 4 KiB.
	maxURL = 8 << 10
	// maxRedirects bounds the redirects of one request.
	maxRedirects = 3
	// minDial is the time that a connection needs; with less, its failure says nothing about the
	// registry. A registry with a short timeout has half of it.
	minDial = time.Second
	// noHeadLifetime is how long a registry that refuses HEAD is not asked by HEAD.
	noHeadLifetime = 10 * time.Minute
)

// request makes a request for the manifest when its time has come, and closes the gates that the
// answer says to close. Any answer but status 200 is an error. It is one HTTP request if no
// authorization is needed or a token is remembered, two if only the challenge is, and else three:
// for the challenge, the token and the manifest.
func (l *lookup) request(ctx context.Context, method string) (*Manifest, error) {
	switch {
	case len(l.Name) > network.MaxHost:
		l.Name = network.CutHost(l.Name)
		return nil, l.invalid("the name of the host is too long")
	case !auth.Sendable(l.credential.Auth):
		return nil, &requestError{
			host: l.Name, reason: "the credential holds a byte that no header can",
			class: failure.Unauthorized,
		}
	}
	l.via, l.final = "", false
	defer l.slot.endGet()
	tried, err := l.begin(ctx, method)
	if err != nil {
		return nil, err
	}
	answered := false
	defer func() { l.client.gates.done(tried, answered) }()
	// The registry's time begins now, and may end earlier than the caller's.
	limited, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	m, err := l.ask(limited, method)
	e := asError(err)
	switch {
	case err == nil:
		answered = true
		l.served()
		l.heard()
	case e != nil && ctx.Err() == nil:
		answered = e.status != 0 || e.evidence == network.Broken
		l.judge(e)
		if !e.remembered && (e.Class() != failure.Unavailable || errors.Is(err, errNoRoom)) {
			l.heard()
		}
	}
	return m, err
}

// ask sends the request with the authorization that is remembered. If the answer is another
// challenge than the one that was met, it sends the request again. A token endpoint that is
// remembered and fails is not asked a second time, unless a request to it is still under way.
func (l *lookup) ask(ctx context.Context, method string) (*Manifest, error) {
	known := l.recall(ctx)
	if known.err != nil && (known.final || ctx.Err() != nil) {
		return nil, known.err
	}
	header, failed := known.header, known.err
	m, challenge, err := l.send(ctx, method, header)
	switch e := asError(err); {
	case challenge != nil || e == nil || l.via != "":
	case known.isToken() && (e.status == http.StatusUnauthorized ||
		e.status == http.StatusBadRequest && method == http.MethodGet):
		// The registry has forgotten the token (aws/containers-roadmap#2835). A HEAD that is a bad
		// request is followed by a GET.
		l.client.tokens.Remove(l.tokenKey())
		return l.ask(ctx, method)
	case header == "" && method == http.MethodGet && // a HEAD is followed by one
		(e.status == http.StatusForbidden || e.status == http.StatusNotFound):
		if failed == nil {
			challenge, failed = l.findChallenge(ctx)
		}
		if failed != nil {
			return nil, failed
		}
	}
	if challenge != nil && (failed != nil || !known.met(challenge)) {
		l.remember(*challenge)
		renewed := ""
		if !known.met(challenge) {
			renewed, failed = l.authorize(ctx, *challenge)
		}
		switch {
		case failed != nil:
			return nil, failed
		case renewed != "":
			header = renewed
			m, challenge, err = l.send(ctx, method, header)
		}
	}
	e := asError(err)
	switch {
	case e != nil && challenge != nil && challenge.Basic && header != "":
		e.login = true
	case header != "" && err == nil, e != nil && strings.HasPrefix(header, "Basic ") &&
		(e.status == http.StatusForbidden || e.status == http.StatusNotFound):
		l.accepted()
	}
	return m, err
}

// send sends one request. challenge is nil if the answer has no challenge that can be met.
func (l *lookup) send(
	ctx context.Context, method, authorization string,
) (m *Manifest, challenge *auth.Challenge, err error) {
	ctx, s := span.Call(ctx, "registry request")
	defer s.End()
	path := l.Ref.Path() + "/manifests/" + cmp.Or(l.Ref.Digest().String(), l.Ref.Tag())
	req, err := http.NewRequestWithContext(ctx, method, l.url(path), nil)
	if err != nil {
		return nil, nil, l.invalid("no valid address")
	}
	req.Header["Accept"] = accept
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	l.via = ""
	resp, evidence, err := l.do(req, l.redirect)
	l.count(method, l.via, resp, s)
	if err != nil {
		e := l.unanswered(err, evidence)
		e.via = l.via
		return nil, nil, e
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		m, err := l.read(resp)
		return m, nil, err
	}
	switch _, noHead := refusesHead(resp.StatusCode); {
	case l.via != "" && resp.StatusCode == http.StatusUnauthorized && !l.followed:
		m, err := l.follow(ctx, resp)
		return m, nil, err
	case l.via != "":
	case resp.StatusCode == http.StatusUnauthorized:
		challenge = auth.ParseChallenges(resp.Header.Values("WWW-Authenticate"))
	case method == http.MethodHead && noHead:
		l.client.noHead.Put(l.origin(), struct{}{}, l.Namespace, noHeadLifetime)
	}
	return nil, challenge, &requestError{
		host: l.Name, via: l.via, status: resp.StatusCode, retryAfter: retryAfter(resp.Header),
		presented: authorization != "",
	}
}

// url returns the address of a path below /v2/.
func (l *lookup) url(path string) string {
	u := url.URL{Scheme: "https", Host: l.api(), Path: "/v2/" + path}
	if l.Insecure {
		u.Scheme = "http"
	}
	return u.String()
}

// do sends a request for the namespace.
func (l *lookup) do(
	req *http.Request, redirect func(*http.Request, []*http.Request) error,
) (*http.Response, network.Evidence, error) {
	client := &http.Client{Transport: l.transport, CheckRedirect: redirect}
	req.Header.Set("User-Agent", cmp.Or(l.client.UserAgent, "tagpin"))
	return network.Do(client, req, network.Caller{
		Sender: l.Sender, Namespace: l.Namespace, MinDial: min(minDial, l.Timeout/2), Begun: l.asked,
	})
}

// redirect lets a request follow a few redirects, over TLS. Another host gets no credential.
func (l *lookup) redirect(r *http.Request, via []*http.Request) error {
	r.Header.Del("Referer")
	r.URL.Host = network.CanonicalHost(r.URL.Host, r.URL.Scheme == "http")
	host := r.URL.Host
	switch {
	case len(via) > maxRedirects:
		return l.invalid("more than %d redirects, the last one to %s", maxRedirects, host)
	case r.URL.Scheme != "https" && (!l.Insecure || host != l.api()):
		return l.invalid("redirect to %s, not over TLS", host)
	case r.URL.User != nil:
		return l.invalid("redirect to %s with credentials in the URL", host)
	case len(host) > network.MaxHost:
		return l.invalid("redirect to %s, which is too long for a host", host)
	case len(r.URL.String()) > maxURL:
		return l.invalid("redirect to %s, whose address has more than %d KiB", host, maxURL>>10)
	}
	r.Response = nil // it holds the answers before it
	l.via = ""
	if host != l.api() {
		l.via = host
		r.Header.Del("Authorization")
	}
	return nil
}

// unanswered returns the error of a request that got no complete answer.
func (l *lookup) unanswered(err error, evidence network.Evidence) *requestError {
	e := asError(err) // of redirect
	if e == nil {
		explain := l.client.ExplainAll || l.label != ""
		e = &requestError{
			host: l.Name, reason: network.Reason(err, explain), err: network.Kind(err),
			ofNamespace: errors.Is(err, network.ErrNoRoom),
		}
		if explain && errors.Is(err, network.ErrAddress) {
			e.class = failure.Invalid
		}
		late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
		if evidence == network.Nothing && !late && e.class == "" && !e.ofNamespace {
			e.reason = "the request could not be sent"
		}
	}
	e.evidence = evidence
	return e
}

// drain reads a little of the rest of a body, so that its connection can be used again. If it
// hangs, the body is closed.
func drain(body io.ReadCloser) {
	late := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
}
