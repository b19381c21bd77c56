// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Error is a request that got no manifest. Its text never holds a body, a credential or a URL's query.
type Error struct {
	Host       string        // of the reference
	Status     int           // of the answer; 0: there was none
	Token      bool          // it was the token endpoint that answered, or did not
	Reason     string        // in words, where there was no status or it is not enough
	RetryAfter time.Duration // how long the registry asked to wait; 0: it did not
	Refused    bool          // by our own rules: asking again is of no use
	Presented  bool          // the request that was answered had a credential, or a token that was given for one or for none
	// Withheld reports that the credential was not sent: the token realm is on a host that is not the
	// registry's, or no header can hold the credential.
	Withheld bool

	via        string  // host that the registry redirected to, and that answered, or did not
	network    network // what the network has shown where no answer came
	foreign    bool    // the token endpoint was not the registry's own; see lookup.ownRealm
	login      bool    // the credential was presented and not accepted
	remembered bool    // the registry was not asked: this is what it said before
	// ofNamespace: it was not asked because of what it said to the namespace before.
	ofNamespace bool
	err         error
}

// network is what the network has shown of a registry that gave no answer. It is evidence that the
// next request will fail too, so that a gate may be closed.
type network int

const (
	unknown      network = iota // nothing: perhaps the request was never sent
	notConnected                // dialling, TLS or a proxy's CONNECT failed, or took too long
	broken                      // hung, or ended before the answer was whole
)

// Error names the host, or both where the registry redirected to another one, and the cause.
func (e *Error) Error() string {
	at := e.Host
	if e.Token {
		at += " (token)"
	}
	if e.via != "" {
		at += " (redirected to " + e.via + ")"
	}
	cause := e.cause()
	switch {
	case e.remembered && e.login && e.Reason != "": // it was about several credentials
		return at + ": " + cause + "; none is shown for " + round(e.RetryAfter)
	case e.remembered && e.login:
		return at + ": " + cause + "; this credential is not shown again for " + round(e.RetryAfter)
	case e.remembered:
		return at + ": " + cause + " a moment ago; not asked again for " + round(e.RetryAfter)
	case e.RetryAfter > 0 && (e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError):
		return at + ": " + cause + ", to be asked again in " + round(e.RetryAfter)
	}
	return at + ": " + cause
}

func (e *Error) cause() string {
	switch {
	case e.Reason != "":
		return e.Reason
	case e.Status != 0:
		return strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	}
	return "unreachable"
}

// like reports whether both close a gate for the same kind of cause: a refused login, a failed
// connection, or an answer that says to come back later.
func (e *Error) like(other *Error) bool {
	return e.login == other.login && e.network == other.network
}

// serving reports whether the registry itself has given an answer that says that it is in service.
func (e *Error) serving() bool {
	return e.Status != 0 && e.Status < http.StatusInternalServerError &&
		e.Status != http.StatusTooManyRequests && !e.Token && e.via == "" && !e.remembered
}

// OfNamespace reports whether the registry was not asked because it had refused logins of the namespace
// before: to another namespace with the same credential, the error says nothing.
func (e *Error) OfNamespace() bool { return e.ofNamespace }

// round is d in seconds, and not less than it is.
func round(d time.Duration) string {
	return fmt.Sprintf("%ds", int((d+time.Second-1)/time.Second))
}

// Unwrap is the cause, for errors.Is; it is not part of the text.
func (e *Error) Unwrap() error { return e.err }

// transportError is an Error for a request that got no answer. What the network said is told only of hosts that the
// config names: of others it would tell a tenant what is reachable from here.
func transportError(host string, named bool, err error) *Error {
	e := &Error{Host: host, err: err, Reason: "unreachable"}
	var (
		inner *Error
		proxy *proxyError
	)
	switch {
	case errors.As(err, &inner):
		return inner
	case errors.Is(err, errNoDial):
		e.Reason = "too many connections to registries are being made; try again"
	case errors.As(err, &proxy): // which the operator chose, and not the tenant
		e.Reason = "the proxy " + proxy.host + ": " + cmp.Or(proxy.reason, networkReason(proxy.err))
	case !named: // a refused address looks like one where nothing answers
	case errors.Is(err, ErrAddress):
		e.Refused, e.Reason = true, "its address is not allowed; see network.allow"
	default:
		e.Reason = networkReason(err)
	}
	return e
}

func networkReason(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		timeout  interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, errHeader):
		return "its answer has too many lines of header"
	case errors.Is(err, errHandshake):
		return fmt.Sprintf("its TLS handshake has more than %d KiB", maxHandshake>>10)
	case errors.As(err, &unknown):
		return "its TLS certificate is signed by an unknown authority; see caFile"
	case errors.As(err, &hostname):
		return "its TLS certificate is for another host"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its TLS certificate has expired or is not yet valid"
	case errors.As(err, &invalid):
		return "its TLS certificate is not valid"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS; see insecure"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS knows no such host" + hint(dns.Name)
	case errors.As(err, &dns):
		return "its name can't be looked up in DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	}
	return "unreachable"
}

// hint is what to do about a name that is not found and may be a Service's, without the end that a
// pod's search list would add.
func hint(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.Count(name, ".") == 1 || strings.HasSuffix(name, ".svc") {
		return "; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"
	}
	return ""
}

// AsError is err as an *Error, or nil.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}
