// SPDX-License-Identifier: Apache-2.0

// Package network makes connections to hosts that tenants choose. It owns the rules of which
// addresses may be dialled, the lookup of names in DNS, the bounds of a connection (how many are
// made at a time, the size of a TLS handshake and of an answer's header, what a server sends beside
// an answer's body, and the work to verify a server's certificates), proxies, and the TLS files of
// hosts. It also says what a failed request has shown of the network, and describes the failure.
//
// The package does not know what a request asks for, what its answer means, or whether it may be
// sent at all. That is the job of package registry.
package network

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

const (
	// connectTimeout bounds the time to connect, and then the time of a TLS handshake.
	connectTimeout = 5 * time.Second
	// proxiedLookup bounds the lookup of a named host that a proxy is asked for.
	proxiedLookup = time.Second
	// maxIdle and maxIdlePerHost bound the connections that are kept for later requests.
	maxIdle, maxIdlePerHost = 256, 32
	// keepAlive is how long a connection is idle before the kernel asks whether the peer is still
	// there, and probeAfter how long it waits for an answer before it asks again.
	keepAlive, probeAfter = 15 * time.Second, 5 * time.Second
	// silence is how long the peer's kernel may take to confirm what was sent. Then the connection is
	// closed. It is less than half of the default timeout of a request, so that net/http sends the
	// request again in time.
	silence = 2 * time.Second
	// MaxDials is a capacity for Network.Dials, from which one namespace of one sender gets 128 at
	// most.
	MaxDials = 512
)

// Network makes the transports of a client. Its fields must not change after the first transport.
type Network struct {
	// Rules say which addresses may be dialled.
	Rules Rules
	// Resolver looks up names. If nil, the system's settings apply.
	Resolver *net.Resolver
	// Proxy returns the proxy of a request, or nil. If nil, it is http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// Named reports whether the config names the host of a URL. Only such a host is asked through a
	// proxy if its name can't be looked up here.
	Named func(host string) bool
	// Roots are the CAs that are trusted for all hosts. If nil, they are the system's.
	Roots *x509.CertPool
	// Dials bounds the connections that are being made at the same time.
	Dials *fair.Room
}
