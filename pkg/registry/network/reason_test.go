// SPDX-License-Identifier: Apache-2.0

package network

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestForOperator checks that the operator reads the address, the setting that may help, and what
// the system says, but nothing that a server or a secret setting holds.
func TestForOperator(t *testing.T) {
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	issuer := x509.UnknownAuthorityError{Cert: &x509.Certificate{
		Issuer: pkix.Name{CommonName: "Corporate CA" + strings.Repeat("x", 1000)},
	}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{refused, "connection refused (dial tcp 192.0.2.1:443: connect: connection refused)"},
		{
			&net.DNSError{Err: "no such host", Name: "a.b.example.", Server: "10.0.0.10:53", IsNotFound: true},
			"DNS knows no such host (lookup a.b.example. on 10.0.0.10:53: no such host)",
		},
		{
			fmt.Errorf("%w: 169.254.169.254", ErrAddress),
			"its address is not allowed; see network.allow (address not allowed: 169.254.169.254)",
		},
		{&proxyError{host: "p", err: errors.New("it answered 403"), answer: "it answered 403"}, "the proxy p: it answered 403"},
		{&proxyError{host: "p", err: refused}, "the proxy p: connection refused (proxy p: dial tcp 192.0.2.1:443: connect: connection refused)"},
		{issuer, "its TLS certificate is signed by an unknown authority; see caFile (it is issued by CN=Corporate CA"},
		{errors.New("certificate is valid for \x1b]0;x\x07\x1b[2J\nsha256:0"), "unreachable (certificate is valid for  ]0;x  [2J sha256:0)"},
		{errors.New(`malformed HTTP response "canary"`), "unreachable (malformed HTTP response)"},
		{textproto.ProtocolError("malformed MIME header line: canary"), "unreachable (malformed header)"},
		{fmt.Errorf("proxy: %w", errors.New(`invalid proxy address "http://u:canary@p": x`)), "unreachable (proxy: invalid proxy address)"},
	} {
		got := Explain(tt.err).ForOperator()
		exact := !errors.As(tt.err, new(x509.UnknownAuthorityError))
		if !strings.HasPrefix(got, tt.want) || exact && got != tt.want || strings.Contains(got, "canary") || len(got) > 500 {
			t.Errorf("Explain(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

// TestServiceHint checks that the hint about Services is only for a process in a cluster.
func TestServiceHint(t *testing.T) {
	const hint = "; if it is a Service, write its name in full, as in registry.tools.svc.cluster.local"
	for host, want := range map[string]string{
		"registry.tools": hint, "registry.tools.svc": hint, "a.b.example": "",
		"registry.tools.svc.cluster.local": "",
	} {
		const reason = "DNS knows no such host"
		e := Explain(&net.DNSError{Err: "no such host", Name: host + ".", IsNotFound: true})
		if got := e.ForTenant(); got != reason+want {
			t.Errorf("ForTenant() of %s = %s, want %s", host, got, reason+want)
		}
		if got := e.ForOperator(); !strings.HasPrefix(got, reason+want) {
			t.Errorf("ForOperator() of %s = %s, want %s", host, got, reason+want)
		}
		if got := e.ForUser(host); got != reason {
			t.Errorf("ForUser() of %s = %s, want %s", host, got, reason)
		}
	}
}
