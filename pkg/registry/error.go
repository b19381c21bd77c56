// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tagpin/tagpin/pkg/failure"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// ErrOfNamespace reports a failure that has to do with what its namespace has asked for: it uses
// too much of what is shared, or its logins were refused. To other namespaces the failure says
// nothing.
var ErrOfNamespace = errors.New("only for this namespace")

// ErrNoAnswer reports a failure that says nothing about the registry: the time was over before the
// registry was asked, or before it could answer. Client.Silence may say something.
var ErrNoAnswer = errors.New("no answer within the time allowed")

// requestError is the error of a request, or of a whole lookup. Its text never has a body, a
// credential or the query of a URL.
type requestError struct {
	host   string        // of the reference
	class  failure.Class // set if tagpin's own rules decided; else the class follows from status
	status int           // of the answer; 0 if there was none
	reason string        // in words, if the status does not say enough
	err    error         // the cause; not part of the text

	retryAfter time.Duration // how long the registry asks to wait
	token      bool          // it is about the token endpoint
	foreign    bool          // the token endpoint is not the registry's own
	via        string        // the host that the registry has redirected to
	presented  bool          // the request had an Authorization header
	login      bool          // the credential was not accepted
	evidence   network.Evidence
	// remembered is true if the registry was not asked, because of an earlier answer.
	remembered bool
	// ofNamespace is true for an ErrOfNamespace.
	ofNamespace bool
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

// Unwrap returns the class, the cause and ErrOfNamespace if it is one.
func (e *requestError) Unwrap() []error {
	errs := []error{e.Class()}
	if e.err != nil {
		errs = append(errs, e.err)
	}
	if e.ofNamespace {
		errs = append(errs, ErrOfNamespace)
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
	both.err = errors.Join(first, e.err) // so that a refused credential is read again
	both.reason = first.cause() + "; with another credential: " + e.cause()
	return &both
}

// kept returns the error as it is remembered: without the cause, which may hold an answer's header
// or much more, and with texts of its own, since those of the error may be parts of long ones.
func (e *requestError) kept() *requestError {
	kept := *e
	kept.host, kept.reason = strings.Clone(e.host), strings.Clone(e.reason)
	kept.via, kept.err = strings.Clone(e.via), nil
	return &kept
}

// Error names the host, and the one that the registry has redirected to, and the cause.
func (e *requestError) Error() string {
	text := e.host
	if e.token {
		text += " (token)"
	}
	if e.via != "" {
		text += " (redirected to " + e.via + ")"
	}
	text += ": " + e.cause()
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
	return "unreachable"
}

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
