// SPDX-License-Identifier: Apache-2.0

package network

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
)

// Reason describes in words why a request got no answer. If explain is false, it tells nothing
// about the host, since a tenant could learn from it what can be reached from here.
func Reason(err error, explain bool) string {
	proxy := new(proxyError)
	switch {
	case errors.Is(err, ErrNoRoom):
		return "too many connections to registries are being made; try again"
	case errors.As(err, &proxy): // which the operator chose, not the tenant
		return "the proxy " + proxy.host + ": " + cmp.Or(proxy.answer, reason(proxy.err))
	case explain:
		return reason(err)
	}
	return "unreachable"
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

func reason(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		dns      *net.DNSError
		timeout  interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, ErrAddress):
		return "its address is not allowed; see network.allow"
	case errors.Is(err, errHeader):
		return "its answer has too many lines of header"
	case errors.Is(err, errCertificates):
		return "its TLS certificates are too large"
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
	case wantsClientCert(err):
		return "it wants a client certificate, or another one; see clientCertFile"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "it does not speak TLS; see insecure"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "DNS knows no such host" + serviceHint(dns.Name)
	case errors.As(err, &dns):
		return "its name can't be looked up in DNS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timed out"
	}
	return "unreachable"
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

// serviceHint returns a hint if a name that was not found may be that of a Service without the
// ending that a pod's search list would add.
func serviceHint(name string) string {
	name = strings.TrimSuffix(name, ".")
	if strings.Count(name, ".") == 1 || strings.HasSuffix(name, ".svc") {
		return "; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"
	}
	return ""
}
