// SPDX-License-Identifier: Apache-2.0

// Package registry is one guarded transport to all registries, and the manifest request on top of it.
//
// The host of an image is chosen by whoever may create a pod, so nothing here trusts it: each address is checked when it
// is dialled (Network), redirects and token realms are bound, bodies and waits are bounded, plain HTTP is spoken only
// where Hosts say so, and credentials go to the registry's own host and its own token realm alone.
//
//	c := &registry.Client{Network: registry.Network{Allow: prefixes}}
//	m, err := c.Manifest(ctx, http.MethodHead, reference, authn.AuthConfig{})
//
// Of go-containerregistry the package takes authn's credentials and the media types. The round trips are its own: ggcr's
// client pings each registry before each look-up, follows redirects and realms anywhere, retries past the context's end,
// and hides Retry-After. A request here goes to the manifest at once; the challenge in its answer names the realm, and
// what was learnt (challenge of a host, token of a repository and credential) is remembered, bounded and expiring, so
// that a look-up in a known repository is one request.
//
// It decides nothing: which credential to try, and what an answer means, is package resolve's.
package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// Defaults of Host.
const (
	DefaultTimeout           = 5 * time.Second
	DefaultMaxInFlight       = 32
	DefaultRequestsPerSecond = 50
)

// Host is what is known of one registry, or with the name "*" of all that are not named.
type Host struct {
	Name              string        // as in a canonical reference: docker.io, registry.internal:5000; or "*"
	Timeout           time.Duration // of one request; 0: DefaultTimeout
	MaxInFlight       int           // requests at a time; 0: DefaultMaxInFlight
	RequestsPerSecond float64       // 0: DefaultRequestsPerSecond
	Verify            bool          // always GET and hash
	CAFile            string        // PEM, trusted beside the system's for this host
	Insecure          bool          // plain HTTP
	AuthHosts         []string      // other hosts that may be the realm of its tokens
	Mirrors           []Mirror      // asked first, in order
}

// Mirror is another host that serves a registry's repositories.
type Mirror struct {
	Host    string
	Resolve bool // tags too: without it, a mirror is not asked for digests
}

// Client makes requests to registries. The zero value is ready: no host is named, and only public and private addresses
// may be dialled. Its fields must not change after the first request. It is safe for concurrent use.
type Client struct {
	Hosts     []Host
	Network   Network
	UserAgent string // default: tagpin
	// ExplainAll makes errors tell what the network answered for hosts that are not named too: for a command line, where
	// who reads them has chosen the host. To a tenant they would tell what is reachable from here.
	ExplainAll bool
	// RootCAs are trusted for all hosts. Nil: the system's.
	RootCAs *x509.CertPool

	once  sync.Once
	err   error
	state *state
}

// state is what a Client has made of its fields, and learnt since.
type state struct {
	named      map[string]Host
	defaults   Host
	transports map[string]http.RoundTripper // of named hosts with an own CA
	shared     http.RoundTripper
	hosts      *lru.Cache[string, *endpoint]
	challenges *lru.Cache[string, remembered[challenge]]
	tokens     *lru.Cache[tokenKey, remembered[string]]
	gates      *lru.Cache[gateKey, time.Time]
}

// Bounds of what is remembered: tenants choose the keys.
const (
	maxEndpoints  = 1024
	maxChallenges = 1024
	maxTokens     = 4096
	maxGates      = 4096
)

// Init reads the CA files and makes the transports. The first request does it too; calling it early shows a bad file
// before there is one.
func (c *Client) Init() error {
	c.once.Do(func() { c.state, c.err = c.newState() })
	return c.err
}

func (c *Client) newState() (*state, error) {
	s := &state{named: make(map[string]Host, len(c.Hosts)), transports: map[string]http.RoundTripper{}}
	s.shared = c.newTransport(c.RootCAs)
	for _, h := range c.Hosts {
		if h.Name == "*" {
			s.defaults = h
			continue
		}
		s.named[h.Name] = h
		if h.CAFile == "" {
			continue
		}
		pool, err := c.pool(h.CAFile)
		if err != nil {
			return nil, fmt.Errorf("registry %s: %w", h.Name, err)
		}
		s.transports[h.Name] = c.newTransport(pool)
	}
	// Errors of lru.New are for sizes below one.
	s.hosts, _ = lru.New[string, *endpoint](maxEndpoints)
	s.challenges, _ = lru.New[string, remembered[challenge]](maxChallenges)
	s.tokens, _ = lru.New[tokenKey, remembered[string]](maxTokens)
	s.gates, _ = lru.New[gateKey, time.Time](maxGates)
	return s, nil
}

func (c *Client) pool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := c.roots()
	if err != nil {
		return nil, err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// roots is a copy of what is trusted for all hosts.
func (c *Client) roots() (*x509.CertPool, error) {
	if c.RootCAs != nil {
		return c.RootCAs.Clone(), nil
	}
	return x509.SystemCertPool()
}

// newTransport makes a transport that dials what Network allows, and goes by the proxy that the environment names.
func (c *Client) newTransport(roots *x509.CertPool) http.RoundTripper {
	base := &http.Transport{
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    DefaultTimeout,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    DefaultMaxInFlight,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // the bytes that are hashed are those that were sent
	}
	direct, proxied := base.Clone(), base.Clone()
	direct.DialContext = c.Network.dialer().DialContext
	proxied.Proxy = http.ProxyFromEnvironment
	return &byProxy{direct: direct, proxied: proxied, network: c.Network, named: c.names}
}

func (c *Client) names(host string) bool {
	for _, h := range c.Hosts {
		if apiHost(h.Name) == host {
			return true
		}
	}
	return false
}

// Close closes idle connections.
func (c *Client) Close() {
	if c.Init() != nil {
		return
	}
	closeIdle(c.state.shared)
	for _, t := range c.state.transports {
		closeIdle(t)
	}
}

func closeIdle(t http.RoundTripper) {
	if t, ok := t.(*byProxy); ok {
		t.direct.CloseIdleConnections()
		t.proxied.CloseIdleConnections()
	}
}

// Host is what is known of a registry: its own settings, else the defaults of all.
func (c *Client) Host(name string) Host {
	for _, h := range c.Hosts {
		if h.Name == name {
			return h
		}
	}
	for _, h := range c.Hosts {
		if h.Name == "*" {
			h.Name = name
			return h
		}
	}
	return Host{Name: name}
}

// Named tells whether the config names the registry: only then may an error tell what its network answered.
func (c *Client) Named(name string) bool {
	for _, h := range c.Hosts {
		if h.Name == name {
			return true
		}
	}
	return false
}

// apiHost is where a registry is to be asked: Docker Hub's name is not its API's.
func apiHost(name string) string {
	if name == "docker.io" || name == "index.docker.io" {
		return "registry-1.docker.io"
	}
	return name
}

// Network says which addresses may be dialled, beyond the built-in rules: Deny over Allow over those.
type Network struct {
	Allow, Deny []netip.Prefix
}
