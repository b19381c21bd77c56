// SPDX-License-Identifier: Apache-2.0

// Package registry asks registries for digests and manifests.
//
//	c := &registry.Client{Network: network.Network{Rules: network.Rules{Allow: prefixes}}}
//	d, err := c.Digest(ctx, registry.Request{Ref: reference, Credentials: candidates})
//
// Whoever may create a pod chooses the host of an image, so the package trusts no host: addresses
// are checked when they are dialled (package network), redirects and token realms are limited,
// bodies and waits are bounded, plain HTTP needs a setting, and credentials go to the registry's
// own host and its own token realm alone (package auth).
//
// A request goes to the manifest at once. The challenge in the answer names the token realm. What
// was learned from answers is remembered for a while (Learned), so that a lookup is usually one
// HEAD request once its token is known. Without a token, the challenge and the token cost two more.
// A GET follows if HEAD is not enough, and a request to /v2/ if only that challenges. If an answer
// says that the next request will fail too, the registry is not asked for a while (gates).
//
// The package uses the credentials and media types of go-containerregistry, and nothing more of it:
//   - Its parser of references refuses references that run, and accepts others.
//   - remote.Head pings each registry before each lookup. The ping follows redirects and reads
//     without a bound. Retries ignore the end of the context.
//   - Its transport sends credentials to any public token realm, and follows redirects there.
//   - transport.Error has no header, so that Retry-After is lost, and quotes bodies.
package registry

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/registry/network"
)

// allHosts is the name of the Host with the defaults of all hosts.
const allHosts = "*"

// Defaults of Host.
const (
	DefaultTimeout           = 5 * time.Second
	DefaultMaxInFlight       = 32
	DefaultRequestsPerSecond = 50
)

// Host has the settings of one registry, or of all registries that have no settings of their own.
type Host struct {
	Name              string        // as in a canonical reference, docker.io or a.b:5000; or "*"
	Timeout           time.Duration // of one request; 0: DefaultTimeout
	MaxInFlight       int           // requests at a time; 0: DefaultMaxInFlight
	RequestsPerSecond float64       // 0: DefaultRequestsPerSecond
	Verify            bool          // always GET and hash
	TLS               network.TLSFiles
	Insecure          bool     // plain HTTP
	AuthHosts         []string // other hosts that may be the realm of its tokens
	Mirrors           []Mirror // asked first, in order; nil: those of "*"
}

// Client asks registries. The zero value may dial public and private addresses. The fields must not
// change after the first request. It is safe for concurrent use.
type Client struct {
	// Hosts are the registries that the config names.
	Hosts []Host
	// Lenient are hosts for which the user of a command-line tool vouches.
	Lenient Lenient
	// Network says which addresses may be dialled, and how. Init sets its Named and Dials.
	Network   network.Network
	UserAgent string // default: tagpin
	// ExplainAll makes errors tell what the network answered for hosts that the config doesn't name.
	// It is for a command-line tool, whose user has chosen the host. A tenant would learn from it what
	// can be reached from here.
	ExplainAll bool
	// TellShared makes errors with a credential that all namespaces share tell their class, and with
	// ExplainAll also the registry's answer. Otherwise they are all failure.Unauthorized: a tenant
	// would learn which images there are that it may not see. A 404 is failure.NotFound only if no
	// later attempt was refused.
	TellShared bool
	// Metrics counts requests. It may be nil.
	Metrics *Metrics
	// Learned is what earlier clients have learned. It may be nil.
	*Learned
	// Panics reports panics in requests for tokens.
	Panics *panics.Reporter
	// Gets bounds the manifests that are being read at the same time. If nil, they have no bound.
	Gets *fair.Queue
	// Manifests bounds the bytes of the larger manifests that are in memory at the same time: from the
	// first 64 KiB of a body on, until Manifest.Release. If nil, each manifest has a bound of its own.
	Manifests *fair.Queue

	once    sync.Once
	err     error
	named   map[address]target // the hosts that have settings
	others  target             // the defaults, without mirrors
	mirrors []Mirror           // of the registries that have none set
	labels  map[address]string // the names of registries and mirrors, as the config spells them
	apis    map[string]bool    // the hosts of URLs that the config names, and of their token realms
	lenient lenient
}

// Init sets the defaults of fields that are nil and reads the TLS files. The first request does so
// too; an early call shows a bad file earlier.
func (c *Client) Init() error {
	c.once.Do(func() { c.err = c.init() })
	return c.err
}

func (c *Client) init() error {
	c.Gets = cmp.Or(c.Gets, &fair.Queue{})
	c.Manifests = cmp.Or(c.Manifests, &fair.Queue{})
	c.Learned = cmp.Or(c.Learned, &Learned{})
	c.named, c.labels, c.apis = map[address]target{}, map[address]string{}, map[string]bool{}
	c.prepare(c.Panics)
	c.Network.Dials = &c.dials
	c.Network.Named = func(host string) bool { return c.apis[host] }
	shared := c.newTransport()
	c.others = newTarget(Host{}, shared)
	var errs []error
	for _, h := range c.Hosts {
		t := newTarget(h, shared)
		if h.Name == allHosts {
			c.mirrors, t.Mirrors = t.Mirrors, nil
			c.others = t
			continue
		}
		t.address, t.isNamed = newAddress(h.Name, h.Insecure), true
		if h.TLS != (network.TLSFiles{}) {
			own, err := c.Network.TransportFor(t.api(), h.TLS)
			if err != nil {
				errs = append(errs, fmt.Errorf("registry %s: %w", h.Name, err))
			} else {
				t.transport, t.files = own, own
			}
		}
		c.named[t.address] = t
	}
	for _, h := range c.Hosts {
		c.addNames(h)
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // which have those of lenient hosts
	}
	return c.addLenient(shared)
}

// LookAtFiles looks at the TLS files of all registries, and returns an error for each registry
// whose files have changed and can't be used as they are. The former ones stay in use, so that only
// this function tells. A later client, such as that of the next process, would not begin.
func (c *Client) LookAtFiles() error {
	_ = c.Init() // its error is about files that this client does not use at all
	var errs []error
	for _, t := range c.named {
		if t.files == nil {
			continue
		}
		if err := t.files.Look(); err != nil {
			errs = append(errs, fmt.Errorf("registry %s: %w", t.Name, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Close closes idle connections.
func (c *Client) Close() {
	_ = c.Init()
	c.lenient.probing.Close()
	for _, t := range c.named {
		(&http.Client{Transport: t.transport}).CloseIdleConnections()
	}
	(&http.Client{Transport: c.others.transport}).CloseIdleConnections()
}

// Host returns the settings of a registry: its own, or else the defaults.
func (c *Client) Host(name string) Host {
	t := c.target(name)
	if t.Mirrors == nil {
		t.Mirrors = c.mirrorsOfAll(t.address)
	}
	return t.Host
}

// Names reports whether Hosts or Lenient.Hosts has the registry, perhaps by another spelling of its
// name.
func (c *Client) Names(name string) bool {
	return c.target(name).isNamed || slices.Contains(c.Lenient.Hosts, name)
}

// Settings identifies what the config says about a registry, apart from bounds and mirrors. Other
// settings may lead to another answer.
func (c *Client) Settings(name string) string {
	return c.target(name).answers
}

// Label returns the label of a registry in metrics: its name as the config spells it, or else its
// usual name if it is well known. It is "" for all others: tenants choose the hosts of images, and
// must not make up labels.
func (c *Client) Label(name string) string {
	return c.target(name).label
}

// Labels returns all labels that Label may return, except "".
func (c *Client) Labels() []string {
	_ = c.Init() // its error is about files
	all := slices.Collect(maps.Values(c.labels))
	for _, host := range wellKnown {
		if label := c.Label(host); !slices.Contains(all, label) {
			all = append(all, label)
		}
	}
	return all
}

func (c *Client) target(name string) target {
	_ = c.Init() // its error is about files
	return c.find(name)
}
