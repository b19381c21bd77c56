// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry/auth"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// ErrOfNamespace reports a failure that has to do with what its namespace has asked for: it uses
// too much of what is shared, or its logins were refused. To other namespaces the failure says
// nothing.
var ErrOfNamespace = errors.New("only for this namespace")

// ErrOutage reports, beside ErrOfNamespace, that the registry itself is unavailable to the
// namespace: it limits the requests of a credential of the namespace's own, or it has failed after
// such a credential was refused a moment ago.
var ErrOutage = errors.New("the registry is unavailable to the namespace")

// ErrNoAnswer reports a failure that says nothing about the registry: the time was over before the
// registry was asked, or before it could answer. Client.Silence may say something.
var ErrNoAnswer = errors.New("no answer within the time allowed")

// ErrAddress reports that the registry was not asked, because the network's rules allow none of its
// addresses.
var ErrAddress = network.ErrAddress

// ErrForeignRealm reports that a credential was not sent to a token endpoint, because that is not
// known to be the registry's own. Host.AuthHosts may name its host.
var ErrForeignRealm = auth.ErrForeignRealm

// ErrRefused reports that a credential was refused, although the failure is of another class: the
// registry was unavailable to a later one. The refused one may be out of date.
var ErrRefused = errors.New("an earlier credential was refused")

// requestError is the error of a request, or of a whole lookup. Neither its text nor its Cause ever
// has a body, a credential or the query of a URL.
type requestError struct {
	host   string        // of the reference
	class  failure.Class // set if tagpin's own rules decided; else the class follows from status
	status int           // of the answer; 0 if there was none
	reason string        // in words, if the status does not say enough
	detail string        // the reason for the operator, if it says more
	err    error         // the cause; not part of the text

	// retryAfter is how long the registry asks to wait or, if it is remembered, until it is asked
	// again.
	retryAfter time.Duration
	token      bool   // it is about the token endpoint, or the challenge at /v2/
	foreign    bool   // the token endpoint is not the registry's own
	via        string // the host that the registry has redirected to
	presented  bool   // the request had an Authorization header
	login      bool   // the credential was not accepted
	evidence   network.Evidence
	// asked is true if the answer is remembered until the time that the registry named in it.
	asked bool
	// remembered is true if the registry was not asked, because of an earlier answer.
	remembered bool
	// ofNamespace is true for an ErrOfNamespace.
	ofNamespace bool
	// afterOwn is true for an error that is an ErrOfNamespace only because that of an earlier
	// credential is one.
	afterOwn bool
	// refused is true for an ErrRefused.
	refused bool
}

const (
	// unreachableText is all that a tenant may know about a host that the config does not name.
	unreachableText = "unreachable"
	otherCredential = "; with another credential: "
)

// RetryAfter returns how long to wait before a lookup that has failed is repeated: the registry
// limits its requests, or is out of service for a while. It is 0 if waiting does not help. asked is
// true if the registry has named the time. If it has named a longer one than tagpin waits, wait is
// the shorter one, and asked is false. It is for a caller that has the time: the webhook's callers
// ask again themselves.
func RetryAfter(err error) (wait time.Duration, asked bool) {
	e := asError(err)
	if e == nil || e.class != "" ||
		e.status != http.StatusTooManyRequests && e.status != http.StatusServiceUnavailable {
		return 0, false
	}
	return max(e.wait(), time.Second), e.asked || !e.remembered && e.named()
}

// wait returns how long the registry is not asked, if it has said so: at most maxRetryAfter, or
// maxOutage after a 503.
func (e *requestError) wait() time.Duration {
	if e.status == http.StatusServiceUnavailable {
		return min(e.retryAfter, maxOutage)
	}
	return min(e.retryAfter, maxRetryAfter)
}

// named reports whether wait is what the registry has named.
func (e *requestError) named() bool { return e.retryAfter > 0 && e.wait() == e.retryAfter }

// HostOf returns the registry host in the reference whose lookup has failed with err. It is "" if
// err does not come from this package, for example because the registry's answer was of no use.
func HostOf(err error) string {
	if e := asError(err); e != nil {
		return e.host
	}
	return ""
}

func asError(err error) *requestError {
	e, _ := errors.AsType[*requestError](err)
	return e
}

// Class returns the class of the failure.
func (e *requestError) Class() failure.Class {
	switch status := e.status; {
	case e.class != "":
		return e.class
	case status == http.StatusNotFound && !e.token:
		return failure.NotFound
	case status == http.StatusTooManyRequests, status < 300, status >= 500:
		return failure.Unavailable
	case status == http.StatusBadRequest && e.presented: // ECR's answer to a password that has expired
		return failure.Unauthorized
	case status == http.StatusUnauthorized, status == http.StatusForbidden, e.token && status >= 400:
		return failure.Unauthorized
	case status == http.StatusRequestTimeout:
		return failure.Unavailable
	}
	return failure.Invalid
}

// Unwrap returns the class, the cause, and ErrOfNamespace, ErrOutage and ErrRefused if it is one.
func (e *requestError) Unwrap() []error {
	errs := []error{e.Class()}
	if e.err != nil {
		errs = append(errs, e.err)
	}
	if e.ofNamespace || e.afterOwn {
		errs = append(errs, ErrOfNamespace)
	}
	noAnswer := errors.Is(e.err, ErrNoAnswer)
	if e.ofNamespace && e.status == http.StatusTooManyRequests ||
		e.afterOwn && !e.ofNamespace && !noAnswer {
		errs = append(errs, ErrOutage)
	}
	if e.refused {
		errs = append(errs, ErrRefused)
	}
	return errs
}

// triesNext reports whether the next credential may get another answer: after a refusal, and after
// a 404 to a credential, by which some registries hide what it may not see.
func (e *requestError) triesNext() bool {
	class := e.Class()
	return class == failure.Unauthorized || class == failure.NotFound && e.presented
}

// after returns the error of a later credential with the cause of the first one's before its own.
func (e *requestError) after(first *requestError) *requestError {
	both := *e
	both.refused = first.Class() == failure.Unauthorized
	both.reason = first.cause() + otherCredential + e.cause()
	both.detail = first.detailed() + otherCredential + e.detailed()
	return &both
}

// saysNothing makes a request that was sent too late, and got no answer in time, say nothing about
// the registry to others than its namespace, whose turn came late.
func (e *requestError) saysNothing() {
	if e.status == 0 && errors.Is(e.err, context.DeadlineExceeded) {
		e.evidence, e.ofNamespace = network.Nothing, true
		e.err = errors.Join(ErrNoAnswer, e.err)
	}
}

// kept returns the error as it is remembered: without the cause, since only the text and the class
// are needed later, and with texts of its own, since those of the error may be parts of long ones.
func (e *requestError) kept() *requestError {
	kept := *e
	kept.host, kept.reason = strings.Clone(e.host), strings.Clone(e.reason)
	kept.via, kept.detail, kept.err = strings.Clone(e.via), strings.Clone(e.detail), nil
	return &kept
}

// Error names the host, and the one that the registry has redirected to, and the cause, as far as a
// tenant may know it.
func (e *requestError) Error() string { return e.text(e.cause()) }

// Cause is Error for the operator, with the whole cause.
func (e *requestError) Cause() string { return e.text(e.detailed()) }

func (e *requestError) text(cause string) string {
	text := e.host
	if e.token {
		text += " (token)"
	}
	if e.via != "" {
		text += " (redirected to " + e.via + ")"
	}
	text += ": " + cause
	wait := fmt.Sprintf("%ds", int((e.retryAfter+time.Second-1)/time.Second))
	switch {
	case e.remembered && e.login && e.reason != "": // it is about several credentials
		return text + "; none is shown for " + wait
	case e.remembered && e.login:
		return text + "; this credential is not shown again for " + wait
	case e.remembered:
		return text + " a moment ago; not asked again for " + wait
	case e.retryAfter > 0 && (e.status == http.StatusTooManyRequests || e.status >= 500):
		return text + ", to be asked again in " + wait
	}
	return text
}

func (e *requestError) cause() string {
	switch {
	case e.reason != "":
		return e.reason
	case e.status != 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s", e.status, http.StatusText(e.status)))
	}
	return unreachableText
}

// detailed returns the cause for the operator.
func (e *requestError) detailed() string { return cmp.Or(e.detail, e.cause()) }

// invalid returns the error of an answer that tagpin's own rules refuse. Hosts in it come from
// others and are cut.
func (l *lookup) invalid(format string, args ...any) *requestError {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = network.CutHost(s)
		}
	}
	return &requestError{
		host: l.Name, reason: fmt.Sprintf(format, args...), class: failure.Invalid,
	}
}
