// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"unicode"

	"github.com/tagpin/tagpin/pkg/chain"
)

// Explanation says why a request got no answer.
type Explanation struct {
	// Reason is the reason in words.
	Reason string
	// Setting is the setting of the config that may help, or "". It is for operators.
	Setting string
	// System is what the system and Go say, such as the address that was dialled. It is for operators:
	// a tenant would learn from it what is reached from here. It quotes nothing that a server has sent
	// but the names in its certificate.
	System string
	// InCluster is a hint for a process in a cluster, or "". It follows the reason.
	InCluster string
	// Public is true if the reason says nothing about a host that a tenant may have chosen.
	Public bool
}

// Explain says why a request got no answer.
func Explain(err error) Explanation {
	e := Explanation{System: system(err), InCluster: serviceHint(err)}
	proxy := new(proxyError)
	switch {
	case errors.Is(err, ErrNoRoom):
		e.Public = true
		e.Reason = "too many connections to registries are being made; try again"
	case errors.As(err, &proxy): // which the operator chose
		e.Public = proxy.answer == ""
		if e.Public {
			e.Reason, e.Setting = reason(proxy.err)
		} else {
			e.Reason, e.System = proxy.answer, ""
		}
		e.Reason = "the proxy " + proxy.host + ": " + e.Reason
	default:
		e.Reason, e.Setting = reason(err)
	}
	return e
}

// ForTenant returns the reason with what may help in a cluster.
func (e Explanation) ForTenant() string { return e.Reason + e.InCluster }

// ForOperator returns all that is known, in one text.
func (e Explanation) ForOperator() string {
	text := e.ForTenant()
	if e.Setting != "" {
		text += "; see " + e.Setting
	}
	if e.System != "" {
		text += " (" + e.System + ")"
	}
	return text
}

// ForUser returns the reason with what the user of a command-line tool can do at a host.
func (e Explanation) ForUser(host string) string {
	switch e.Setting {
	case "insecure":
		return e.Reason + "; if you trust the network, use --insecure " + host
	case "caFile":
		return e.Reason + "; name its CA by caFile in the file of --config, or use --insecure " + host
	case "":
		return e.Reason
	}
	return e.Reason + "; see " + e.Setting + " in the file of --config"
}

// LacksTLS reports whether a failed request over TLS has shown that the server does not speak TLS:
// it answered in another protocol, or hung up during the handshake.
func LacksTLS(err error) bool {
	record := new(tls.RecordHeaderError)
	op := new(net.OpError)
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, record):
		return true
	case errors.As(err, &op) && op.Op != "read":
		return false // no connection, or an alert, which is TLS
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET)
}

// maxSystem bounds Explanation.System, and maxIssuer the name of a CA in it, in bytes.
const maxSystem, maxIssuer = 256, 100

// system returns the text of an error. Errors of net/http quote what a server has sent, so the text
// ends at the first quotation mark. A certificate may have any names, so control characters, which
// a terminal would obey, become spaces.
func system(err error) string {
	if errors.As(err, new(textproto.ProtocolError)) { // it has the line without quotation marks
		return "malformed header"
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) && unknown.Cert != nil {
		issuer := unknown.Cert.Issuer.String()
		text = "it is issued by " + issuer[:min(len(issuer), maxIssuer)]
	}
	text = strings.TrimRight(text[:min(len(text), maxSystem)], " :(")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// Kind returns what errors.Is may find in the error of a request, or nil. The error itself must not
// be kept: it may hold a chain of certificates of several MiB.
func Kind(err error) error {
	for _, kind := range []error{
		ErrNoRoom, ErrAddress, context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

// reason returns the reason in words, and the setting that may help.
func reason(err error) (text, setting string) {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		bound    chain.BoundError
		dns      *net.DNSError
		timeout  interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, ErrAddress):
		return "its address is not allowed", "network.allow"
	case errors.Is(err, errHeader):
		return "its answer has too many lines of header", ""
	case errors.As(err, &bound):
		return string(bound), ""
	case errors.Is(err, errHandshake):
		return fmt.Sprintf("its TLS handshake has more than %d KiB", maxHandshake>>10), ""
	case errors.Is(err, errBeside):
		return fmt.Sprintf("it sends more than %d KiB beside its answer", maxBesideBody>>10), ""
	case errors.As(err, &unknown):
		return "its TLS certificate is signed by an unknown authority", "caFile"
	case errors.As(err, &hostname):
		return "its TLS certificate is for another host", ""
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its TLS certificate has expired or is not yet valid", ""
	case errors.As(err, &invalid):
		return "its TLS certificate is not valid", ""
	case wantsClientCert(err):
		return "it wants a client certificate, or another one", "clientCertFile"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS", "insecure"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS knows no such host", ""
	case errors.As(err, &dns):
		return "its name can't be looked up in DNS", ""
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused", ""
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out", ""
	}
	return "unreachable", ""
}

// wantsClientCert reports whether a server has ended a connection because of the client's
// certificate. crypto/tls has the alerts of RFC 8446, section 6.2, only as texts.
func wantsClientCert(err error) bool {
	op := new(net.OpError)
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	text := op.Err.Error()
	return slices.ContainsFunc([]string{
		"certificate required", "bad certificate", "unknown certificate authority",
		"expired certificate", "revoked certificate", "unsupported certificate",
	}, func(alert string) bool { return strings.HasSuffix(text, alert) })
}

// serviceHint returns a hint if a name that DNS does not know may be that of a Service without the
// ending that a pod's search list would add.
func serviceHint(err error) string {
	dns := new(net.DNSError)
	if !errors.As(err, &dns) || !dns.IsNotFound {
		return ""
	}
	name := strings.TrimSuffix(dns.Name, ".")
	if strings.Count(name, ".") == 1 || strings.HasSuffix(name, ".svc") {
		return "; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"
	}
	return ""
}
