// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/ref"
	"github.com/tagpin/tagpin/pkg/registry/auth"
)

// visit is a request to another host than the registry's own: one that the registry has redirected
// to, or a token endpoint that is not its own. The bounds of that host hold for it too, so that no
// tenant's registry makes tagpin ask another one more than that one's own references could.
type visit struct {
	there *lookup // for that host, without a credential
	// manifest is true if the address is that of a manifest, at the port at which the host itself is
	// asked. Then the answer says as much about the host as if the manifest had been asked for there.
	manifest bool
	// late is true if less time was left than a connection needs when the request had its turn.
	late bool
}

// visit waits until a request to an address at another host may be sent: for the host's gates, a
// slot and the rate. It does not try a gate, because the answer may say nothing about one. After a
// redirect, the registry has answered, so its gates and its slot are given back. That of the
// repository can be tried by others meanwhile. A request for a token has neither: the lookups that
// wait for the token keep their slots. leaveOther must be called when there is an answer.
func (l *lookup) visit(ctx context.Context, u *url.URL) error {
	if !l.lenient && l.client.isLoopback(u.Host) {
		return l.invalid("it leads to %s, which is this machine", u.Host)
	}
	l.leaveOther(nil) // the host that has redirected to this one
	l.servedTry()
	l.slot.leaveRegistry()
	reference, err := referenceOf(u)
	v := &visit{manifest: err == nil}
	if !v.manifest {
		reference = l.Ref // in gates, only its path counts
	}
	v.there = l.elsewhere(u.Host, reference)
	v.manifest = v.manifest && v.there.at(u)
	v.there.visitor = true
	resume := l.pauseTry()
	_, err = v.there.beginRequest(ctx, http.MethodHead) // a GET has its turn already
	if err = cmp.Or(l.from(err), resume()); err != nil {
		v.there.slot.leave()
		return err
	}
	v.late = l.isLate(ctx)
	l.other = v
	return nil
}

// isLate reports whether less time is left than a connection needs, so that a request that gets no
// answer says nothing about the registry.
func (l *lookup) isLate(ctx context.Context) bool {
	end, ok := ctx.Deadline()
	return ok && time.Until(end) < l.minDial()
}

// minDial returns the time that a connection needs, which is less if the timeout is short.
func (l *lookup) minDial() time.Duration { return min(minDial, l.Timeout/2) }

// at reports whether the lookup's requests go to the host and port of an address.
func (l *lookup) at(u *url.URL) bool {
	return u.Host == l.api() && (u.Scheme == "http") == l.Insecure
}

// elsewhere returns a lookup at another host for the same caller, without a credential.
func (l *lookup) elsewhere(host string, reference ref.Reference) *lookup {
	req := l.Request
	req.Ref, req.Route, req.Credentials, req.Begin = reference, Route{}, nil, nil
	return l.client.lookup(host, req, keychain.Credential{}, new(slot))
}

// leaveOther ends the visit of another host, if there is one. e is the request's error, or nil. An
// answer about a manifest counts for the host, too. A 401 shows only that a credential is missing,
// so it opens no gate.
func (l *lookup) leaveOther(e *requestError) {
	v := l.other
	if v == nil {
		return
	}
	l.other = nil
	switch {
	case !v.manifest:
	case e != nil && (e.status == http.StatusTooManyRequests ||
		e.status == http.StatusServiceUnavailable):
		own := *e
		own.host, own.via, own.presented = v.there.Name, "", false
		v.there.judge(&own)
	case e == nil || e.status != 0 && e.status < 500 && e.status != http.StatusUnauthorized:
		l.client.gates.reopen(v.there.gates())
	}
	v.there.slot.leave()
}

// from returns an error of a lookup at another host as one of this lookup. If there was no turn in
// time at the other host, the error is marked as one of the namespace (ErrOfNamespace): other
// namespaces have their own turns there.
func (l *lookup) from(err error) error {
	e := asError(err)
	if e == nil {
		return err
	}
	own := *e
	own.host, own.via = l.Name, l.via
	own.ofNamespace = own.ofNamespace || errors.Is(err, ErrNoAnswer)
	return &own
}

// follow asks the registry that a HEAD request was redirected to, and that has challenged it, as if
// the reference there had been asked for without a credential: the lookup's is for its own registry
// (scarf.sh redirects to other registries). Only a HEAD is followed. The lookup there sends a GET
// itself if it needs one. So its result is final: no GET follows at the first registry, which would
// be redirected to the same place and count there again.
func (l *lookup) follow(ctx context.Context, resp *http.Response) (*Manifest, error) {
	c := auth.ParseChallenges(resp.Header.Values("WWW-Authenticate"), "")
	reference, err := referenceOf(resp.Request.URL)
	if c == nil || c.Basic || err != nil || resp.Request.Method != http.MethodHead {
		return nil, l.refused(resp, false)
	}
	l.leaveOther(l.refused(resp, false)) // the lookup there waits for its own turn
	there := l.elsewhere(reference.Host(), reference)
	there.followed, l.final = true, true
	late := false
	there.Begin = func() error { late = l.isLate(ctx); return nil }
	defer there.slot.leave()
	resume := l.pauseTry()
	d, err := there.digest(ctx)
	_ = resume() // the answer has come, whatever was closed meanwhile
	if err != nil {
		err = l.from(err)
		if e := asError(err); late && e != nil {
			e.saysNothing()
		}
		return nil, err
	}
	return &Manifest{resolved: d}, nil
}

// referenceOf returns the reference to a manifest by its address.
func referenceOf(u *url.URL) (ref.Reference, error) {
	path, ok := strings.CutPrefix(u.Path, "/v2/")
	repository, name, manifest := strings.Cut(path, "/manifests/")
	if !ok || !manifest || u.RawQuery != "" || u.EscapedPath() != u.Path {
		return ref.Reference{}, errors.New("no address of a manifest")
	}
	separator := ":"
	if strings.Contains(name, ":") { // it is a digest
		separator = "@"
	}
	r, err := ref.Parse(u.Host + "/" + repository + separator + name)
	if err == nil && r.Host() != u.Host { // without a dot or a port, it is a part of the path
		err = errors.New("no host of a reference")
	}
	return r, err
}
