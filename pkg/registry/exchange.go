// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
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
	// registry. If a registry's timeout is less than twice minDial, half of the timeout counts
	// instead.
	minDial = time.Second
	// noHeadLifetime is how long repositories that refuse HEAD are not asked by HEAD.
	noHeadLifetime = 10 * time.Minute
)

// request makes a request for the manifest when its time has come, and closes the gates that the
// answer says to close. Any answer but status 200 is an error. It is one HTTP request if no
// authorization is needed or a token is remembered, two if only the challenge is, and else up to
// three, for the challenge, the token and the manifest, and one more if only /v2/ challenges.
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
	l.via, l.final, l.paused = "", false, false
	defer l.slot.endGet()
	tried, err := l.beginRequest(ctx, method)
	if err != nil {
		return nil, err
	}
	l.tried = tried
	answered := false
	defer func() { l.endTry(answered) }()
	// The registry's time begins now, and may end earlier than the caller's.
	limited, cancel := l.limit(ctx)
	defer cancel()
	m, err := l.ask(limited, method)
	e := asError(err)
	switch {
	case err == nil:
		answered = true
		l.heard()
	case e != nil && ctx.Err() == nil:
		unread := errors.Is(err, errNoRoom) // but it has come
		answered = !e.remembered &&
			(e.status != 0 || e.evidence == network.Broken || unread)
		l.judge(e)
		if !e.remembered && (e.Class() != failure.Unavailable || unread) {
			l.heard()
		}
	}
	return m, err
}

// endTry lets other requests pass or try the gates that this one tries.
func (l *lookup) endTry(answered bool) {
	l.client.gates.done(l.tried, answered)
	l.tried = nil
}

// servedTry is endTry for a registry that has answered by a redirect to another host, or by the
// header of a manifest. The try of the repository goes on, since a failure from here on closes it.
func (l *lookup) servedTry() {
	ofOthers := slices.DeleteFunc(slices.Clone(l.tried), isOfRepository)
	l.tried = slices.DeleteFunc(l.tried, func(g *gate) bool { return !isOfRepository(g) })
	l.client.gates.done(ofOthers, true)
}

// pauseTry lets other requests try the lookup's gates while it waits for a turn. resume takes
// those again that no other request tries, and fails if one of them was closed meanwhile.
func (l *lookup) pauseTry() (resume func() error) {
	paused, keys := l.tried, []gateKey{}
	for _, g := range paused {
		keys = append(keys, g.key)
	}
	l.endTry(false)
	return func() (err error) {
		l.tried, _, err = l.client.gates.pass(keys, true)
		return err
	}
}

func isOfRepository(g *gate) bool { return g.key.kind == ofRepository }

// ask sends the request with the authorization that is remembered. If the answer is another
// challenge than the one that was met, it sends the request again. A token endpoint that is
// remembered and fails is not asked a second time, unless a request to it is still under way.
func (l *lookup) ask(ctx context.Context, method string) (*Manifest, error) {
	known := l.recall(ctx)
	if known.err != nil && (known.final || ctx.Err() != nil) {
		return nil, known.err
	}
	header, failed := known.header, known.err
	if err := l.passGatesAgain(ctx); err != nil {
		return nil, err
	}
	m, challenge, err := l.send(ctx, method, header)
	switch e := asError(err); {
	case challenge != nil || e == nil || l.via != "":
	case known.isToken() && (e.status == http.StatusUnauthorized ||
		e.status == http.StatusBadRequest && method == http.MethodGet):
		// The registry has forgotten the token (aws/containers-roadmap#2835). A HEAD that is a bad
		// request is followed by a GET.
		l.client.tokens.Remove(l.tokenKey())
		return l.ask(ctx, method)
	case header == "" && method == http.MethodGet && // after such a HEAD comes a GET
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
			renewed, failed = l.authorize(ctx, *challenge, false)
		}
		switch {
		case failed != nil:
			return nil, failed
		case renewed != "":
			header = renewed
			if err = l.passGatesAgain(ctx); err != nil {
				return nil, err
			}
			m, challenge, err = l.send(ctx, method, header)
		}
	}
	e, password := asError(err), strings.HasPrefix(header, "Basic ")
	switch {
	case e != nil && challenge != nil && challenge.Basic && password:
		e.login = true
	case header != "" && err == nil, e != nil && password &&
		(e.status == http.StatusForbidden || e.status == http.StatusNotFound):
		l.accepted()
	}
	return m, err
}

// send sends a request and follows its redirects. If another registry answers a HEAD with a
// challenge, send asks there by an anonymous lookup (follow). challenge is nil unless the registry
// itself has sent one that can be met.
func (l *lookup) send(
	ctx context.Context, method, authorization string,
) (m *Manifest, challenge *auth.Challenge, err error) {
	path := l.Ref.Path() + "/" + cmp.Or(l.resource.path, manifestPath(l.Ref))
	req, err := http.NewRequestWithContext(ctx, method, l.url(path, l.resource.query), nil)
	if err != nil {
		return nil, nil, l.invalid("no valid address")
	}
	req.Header["Accept"] = accept
	if l.resource.read != nil {
		req.Header["Accept"] = []string{l.resource.accept}
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	defer func() { l.leaveOther(asError(err)) }()
	resp, err := l.do(req, method, func(*url.URL) bool { return true })
	if err != nil {
		return nil, nil, err
	}
	defer func() { drain(resp.Body); _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		l.servedTry()
		if l.resource.read != nil {
			return nil, nil, l.resource.read(l, resp)
		}
		m, err := l.read(resp)
		return m, nil, err
	}
	switch _, noHead := refusesHead(resp.StatusCode); {
	case l.via != "" && resp.StatusCode == http.StatusUnauthorized && !l.followed:
		m, err := l.follow(ctx, resp)
		return m, nil, err
	case l.via != "":
	case resp.StatusCode == http.StatusUnauthorized:
		challenge = l.challenge(resp)
	case method == http.MethodHead && noHead:
		l.client.noHead.Put(l.routed(), struct{}{}, l.Namespace, noHeadLifetime)
	}
	return nil, challenge, l.refused(resp, authorization != "")
}

// refused returns the error of an answer with another status than 200.
func (l *lookup) refused(resp *http.Response, presented bool) *requestError {
	return &requestError{
		host: l.Name, via: l.via, status: resp.StatusCode, retryAfter: parseRetryAfter(resp.Header),
		presented: presented,
	}
}

// url returns the address of a path of the registry's API, which is that below /v2/. As containerd
// does, it gives a mirror the name of the registry that the mirror stands for.
func (l *lookup) url(path string, query url.Values) string {
	api := strings.TrimSuffix(cmp.Or(l.Route.API, "/v2"), "/")
	u := url.URL{Scheme: "https", Host: l.api(), Path: api + "/" + path}
	if l.Insecure {
		u.Scheme = "http"
	}
	query = maps.Clone(query)
	if l.Route.Source != "" {
		if query == nil {
			query = url.Values{}
		}
		query.Set("ns", l.Route.Source)
	}
	u.RawQuery = query.Encode()
	return u.String()
}

// challenge returns the challenge of an answer, or nil. If the API has a path of its own, the
// challenge says how the registry names the repository in the scope of a token.
func (l *lookup) challenge(resp *http.Response) *auth.Challenge {
	repository := ""
	if l.Route.API != "" {
		repository = l.Ref.Path()
	}
	return auth.ParseChallenges(resp.Header.Values("WWW-Authenticate"), repository)
}

// do sends a request for the namespace, follows the redirects for which follows is true, and counts
// it as one of a kind. If there is no answer, the error is a *requestError.
func (l *lookup) do(
	req *http.Request, kind string, follows func(*url.URL) bool,
) (resp *http.Response, err error) {
	ctx, s := span.Call(req.Context(), "registry request")
	defer s.End()
	l.via = ""
	req.Header.Set("User-Agent", cmp.Or(l.client.UserAgent, "tagpin"))
	req = req.WithContext(ctx)
	var last *http.Response
	defer func() { l.count(kind, last, s) }()
	first := req.URL
	for redirects := 0; ; redirects++ {
		var evidence network.Evidence
		resp, evidence, err = network.Do(l.transport, req, network.Caller{
			Sender: l.Sender, Namespace: l.Namespace, Begun: l.asked,
			MinDial: l.minDial(),
		})
		if err != nil {
			last = nil
			return nil, l.unanswered(err, cmp.Or(l.via, req.URL.Host), evidence)
		}
		last = resp
		to := redirected(resp)
		if to == nil || !follows(to) {
			return resp, nil
		}
		drain(resp.Body)
		_ = resp.Body.Close()
		if err := l.redirect(req, first, to, redirects); err != nil {
			if e := asError(err); e.class != "" { // a refused redirect is an answer
				e.status = cmp.Or(e.status, resp.StatusCode)
			}
			return nil, err
		}
	}
}

// redirected returns the address to which an answer redirects its request, or nil.
func redirected(resp *http.Response) *url.URL {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if to, err := resp.Location(); err == nil {
			if network.IsASCII(to.Host) { // else it must not be asked
				to.Host = network.CanonicalHost(to.Host, to.Scheme == "http")
			}
			return to
		}
	}
	return nil
}

// redirect prepares a request that was first sent to one address for the next one, to which it is
// redirected. Another host, port or scheme gets no credential, and must have TLS. After that, the
// first address counts as another one too: it gets no credential, and its answer is not the
// registry's own, because the host between may lead to any address.
func (l *lookup) redirect(r *http.Request, first, to *url.URL, before int) error {
	host := to.Host
	switch {
	case !network.IsASCII(host):
		return l.invalid("redirect to %s", host) // in words
	case host == "":
		return l.invalid("redirect to an address without a host")
	case before >= maxRedirects:
		return l.invalid("more than %d redirects, the last one to %s", maxRedirects, host)
	case to.Scheme != "https" && !sameOrigin(to, first):
		return l.invalid("redirect to %s, not over TLS", host)
	case to.User != nil:
		return l.invalid("redirect to %s with credentials in the URL", host)
	case len(host) > network.MaxHost:
		return l.invalid("redirect to %s, which is too long for a host", host)
	case len(to.String()) > maxURL:
		return l.invalid("redirect to %s, whose address has more than %d KiB", host, maxURL>>10)
	}
	elsewhere := l.via != "" || !sameOrigin(to, first)
	changed := !sameOrigin(to, r.URL)
	r.URL, r.Host = to, ""
	if !elsewhere {
		return nil
	}
	l.via = host
	r.Header.Del("Authorization")
	if !changed {
		return nil
	}
	return l.visit(r.Context(), to)
}

// sameOrigin reports whether two addresses are at the same port of the same host. Both have the
// canonical spelling of their scheme.
func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

// unanswered returns the error of a request to a host that got no complete answer.
func (l *lookup) unanswered(err error, host string, evidence network.Evidence) *requestError {
	named, why := l.client.apis[host], network.Explain(err)
	explain := l.client.ExplainAll || named
	e := &requestError{
		host: l.Name, via: l.via, detail: why.ForOperator(), err: network.Kind(err),
		ofNamespace: errors.Is(err, network.ErrNoRoom), evidence: evidence,
	}
	switch {
	case l.client.ExplainAll:
		e.reason = why.ForUser(host)
	case named, why.Public:
		e.reason = why.ForTenant()
	default:
		e.reason = unreachableText
	}
	if explain && errors.Is(err, network.ErrAddress) {
		e.class = failure.Invalid
	}
	late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	if evidence == network.Nothing && !late && e.class == "" && !e.ofNamespace {
		e.reason = "the request could not be sent"
	}
	if l.other != nil && l.other.late {
		e.saysNothing()
	}
	return e
}

// drain reads a little of the rest of a body, so that its connection can be used again. If it
// hangs, the body is closed.
func drain(body io.ReadCloser) {
	late := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
}
