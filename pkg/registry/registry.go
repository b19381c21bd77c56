// SPDX-License-Identifier: Apache-2.0

// Package registry is one guarded transport to all registries, and the manifest request on top of it.
//
// The host of an image is chosen by whoever may create a pod, so nothing here trusts it: each address is checked when it
// is dialled (Network), redirects and token realms are bound, bodies and waits are bounded, plain HTTP is spoken only
// where Hosts say so, and credentials go to the registry's own host and its own token realm alone.
//
//	c := &registry.Client{Network: registry.Network{Allow: prefixes}}
//	m, err := c.Manifest(ctx, registry.Request{Ref: reference, Method: http.MethodHead})
//
// A request goes to the manifest at once; the challenge in its answer names the realm, and what was learnt (challenge of a
// host, token of a repository and credential) is remembered, bounded and expiring, so that a look-up in a known repository
// is one request, and one with nothing known three. Look-ups take turns (turn) where no gate is closed (gates).
//
// Of go-containerregistry the package takes authn's credentials, and of v1/types the media types. Its own are:
//   - names, which are package ref's, since ggcr's parser refuses texts that run and takes some that don't;
//   - the round trips: remote.Head pings each registry before each look-up, and the ping follows redirects and reads without
//     a bound; remote's retries ignore the context's end; a Puller belongs to its first caller's credentials;
//   - the token exchange: transport's asks any public realm, with the credential, and follows its redirects;
//   - errors: transport.Error holds no header, so that Retry-After is lost, and quotes bodies.
//
// The package decides nothing: which credential to try, and what an answer means, is package resolve's.
package registry

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/panics"
)

// allHosts is the name of the Host that holds the defaults of all.
const allHosts = "*"

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
	CAFile            string        // PEM, trusted beside the system's for this host; read again when it changes
	Insecure          bool          // plain HTTP
	AuthHosts         []string      // other hosts that may be the realm of its tokens
	Mirrors           []Mirror      // asked first, in order
}

// Mirror is another host that serves a registry's repositories.
type Mirror struct {
	Host    string // and, where its repositories stand below one: harbor.internal/docker-hub
	Resolve bool   // tags too: without it, a mirror is not asked for digests
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
	// Proxy gives the proxy for a request, or nil. Default: http.ProxyFromEnvironment.
	Proxy func(*http.Request) (*url.URL, error)
	// Metrics counts requests. Nil: nothing.
	Metrics *Metrics
	// Resolver looks up names. Nil: the system's.
	Resolver *net.Resolver
	// Learned is what earlier Clients have learned. Nil: nothing.
	Learned *Learned
	// Panics is told of panics in requests for tokens.
	Panics *panics.Reporter
	// Gets bounds the manifests that are being read at once. Nil: no bound.
	Gets *fair.Queue
	// Manifests bounds the bytes of the larger manifests that are held at once: from a body's first
	// 64 KiB on, until Manifest.Release. Nil: no bound but that of each one.
	Manifests *fair.Queue

	once  sync.Once
	err   error
	state *state
}

// state is what a Client has made of its fields, and learnt since.
type state struct {
	hosts      map[address]Host
	others     Host                // the defaults of all that are not named
	named      map[address]string  // the names of registries and mirrors in the config
	apis       map[string]struct{} // hosts of URLs that it names: of these, and of token realms
	transports map[address]http.RoundTripper
	shared     http.RoundTripper  // of hosts without an own CA
	answers    map[address]string // the settings that an answer may depend on

	*Learned
}

// Init reads the CA files and makes the transports. The first request does it too; calling it early shows a bad file
// before there is one.
func (c *Client) Init() error {
	c.once.Do(func() {
		c.state = c.newState()
		c.state.shared = c.newTransport(c.RootCAs)
		c.err = c.state.trust(c)
	})
	return c.err
}

func (c *Client) newState() *state {
	s := &state{
		hosts: map[address]Host{}, named: map[address]string{}, apis: map[string]struct{}{},
		transports: map[address]http.RoundTripper{}, Learned: c.Learned, answers: c.answers(),
	}
	if s.Learned == nil {
		s.Learned = &Learned{}
	}
	s.init(c)
	for _, h := range c.Hosts {
		if h.Name == allHosts {
			s.others = h
			continue
		}
		s.hosts[h.address()] = h
	}
	for _, h := range c.Hosts {
		if h.Name != allHosts {
			s.name(h)
		}
	}
	return s
}

// name notes the hosts that the settings of one name.
func (s *state) name(h Host) {
	names := []string{h.Name}
	for _, m := range h.Mirrors {
		host, _, _ := strings.Cut(m.Host, "/")
		names = append(names, host)
	}
	for _, name := range names {
		_, at := s.find(name)
		api := apiHost(at.host)
		s.named[at], s.apis[api] = name, struct{}{}
		if realm, ok := knownRealms[api]; ok {
			s.apis[realm] = struct{}{}
		}
	}
	for _, realm := range h.AuthHosts {
		s.apis[spelling(realm, false)], s.apis[spelling(realm, h.Insecure)] = struct{}{}, struct{}{}
	}
}

// hostOf is what is known of a registry, however its name is spelled.
func (s *state) hostOf(name string) Host {
	h, _ := s.find(name)
	h.Name = name
	return withDefaults(h)
}

func withDefaults(h Host) Host {
	if h.Timeout <= 0 {
		h.Timeout = DefaultTimeout
	}
	if h.MaxInFlight <= 0 {
		h.MaxInFlight = DefaultMaxInFlight
	}
	if h.RequestsPerSecond <= 0 {
		h.RequestsPerSecond = DefaultRequestsPerSecond
	}
	return h
}

// trust makes the transports of hosts with a CA of their own.
func (s *state) trust(c *Client) error {
	for _, h := range c.Hosts {
		if h.CAFile == "" {
			continue
		}
		t, err := newTrusting(c, h.CAFile)
		if err != nil {
			return fmt.Errorf("registry %s: %w", h.Name, err)
		}
		s.transports[h.address()] = t
	}
	return nil
}

// origin stands for a registry and for what its settings say about how it is reached. What was learned
// about it by other settings is not used: an operator who trusts another CA, say, is not told for a
// while yet that the former one failed.
func (s *state) origin(name string) string {
	h, at := s.find(name)
	return apiHost(at.host) + h.settings()
}

// answers identifies, by the addresses of c.Hosts, the settings that an answer may depend on.
func (c *Client) answers() map[address]string {
	all := make(map[address]string, len(c.Hosts))
	for i := range c.Hosts {
		h := &c.Hosts[i]
		all[h.address()] = h.settings()
		if h.Verify {
			all[h.address()] += " verify"
		}
	}
	return all
}

// settings identifies what is said about how the registry is reached; empty where nothing is.
func (h *Host) settings() string {
	if h.CAFile == "" && !h.Insecure && len(h.AuthHosts) == 0 {
		return ""
	}
	return fmt.Sprintf(" caFile=%q insecure=%t authHosts=%q", h.CAFile, h.Insecure, h.AuthHosts)
}

// Settings identifies what the config says about a registry, apart from bounds: an answer that was got
// by other settings may be another one.
func (c *Client) Settings(name string) string {
	_ = c.Init() // its error concerns files
	h, at := c.state.find(name)
	if settings, ok := c.state.answers[at]; ok {
		return settings
	}
	return c.state.answers[h.address()] // of all that are not named
}

// Host is what is known of a registry: its own settings, else the defaults of all.
func (c *Client) Host(name string) Host {
	_ = c.Init() // its error concerns files
	return c.state.hostOf(name)
}

// Named tells whether the config names the registry: only then may an error tell what its network answered.
func (c *Client) Named(name string) bool { return c.Label(name) != "" }

// Label returns the name of a registry as the config spells it, or "" if the config does not name it.
func (c *Client) Label(name string) string {
	_ = c.Init()
	_, at := c.state.find(name)
	return c.state.named[at]
}
