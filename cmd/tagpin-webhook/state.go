// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// state is what was made from one config. The next state has the same parts where their settings
// are the same.
type state struct {
	config      *config.Config
	modes       map[policy.Mode]http.Handler
	client      *registry.Client
	places      *fair.Queue // of lookups
	cache       *resolve.Cache
	resolver    resolve.Resolver // all layers except that of siblings
	credentials *cluster.Cluster
	siblings    *sibling.Siblings // nil with --standalone

	reviews sync.WaitGroup // those that began with this state
}

// addClient sets the client of registries.
func (h *handlers) addClient(s, former *state) error {
	c := s.config
	if former != nil && reflect.DeepEqual(former.config.Registries, c.Registries) &&
		reflect.DeepEqual(former.config.Network, c.Network) {
		s.client = former.client
	} else {
		client := c.Client()
		client.UserAgent, client.Metrics, client.Panics = userAgent(), h.metrics.registry, h.panics
		client.Learned, client.Gets, client.Manifests = h.learned, h.queues.gets, h.queues.manifests
		s.client = client
	}
	if err := s.client.Init(); err != nil {
		return err
	}
	h.metrics.resolve.Begin(s.client.Labels())
	h.metrics.registry.Begin(s.client.Labels())
	return nil
}

// addResolver sets the layers of the resolver, except that of siblings, and the sources of
// credentials.
func (h *handlers) addResolver(s, former *state) {
	c := s.config
	s.places = resolve.Places(c.MaxInFlightPerNamespace)
	if former != nil && former.config.MaxInFlightPerNamespace == c.MaxInFlightPerNamespace {
		s.places = former.places
	}
	if former != nil && reflect.DeepEqual(former.config.Credentials, c.Credentials) {
		s.credentials = former.credentials
	} else {
		s.credentials = h.newCredentials(c.Credentials)
	}
	s.cache = &resolve.Cache{
		Next: &resolve.Limit{
			Next: &resolve.Registry{Client: s.client}, Places: s.places, Pending: h.queues.pending,
		},
		Answers: h.answers,
		Limits:  c.Limits(),
		Client:  s.client,
	}
	credentials := &resolve.Credentials{Next: s.cache, Room: h.queues.credentials}
	mirrors := &resolve.Mirrors{Next: credentials, Client: s.client}
	s.resolver = &resolve.Measured{Next: mirrors, Metrics: h.metrics.resolve, Label: s.client.Label}
}

// addModes sets the handlers, and the siblings that they need.
func (h *handlers) addModes(s, former *state) {
	pinner := &pin.Pinner{
		Policy: s.config.Policy(), Resolver: s.resolver, Helpers: h.queues.helpers,
		Patience: &h.patience, Panics: h.panics,
	}
	if s.siblings = h.newSiblings(s.config, &pinner.Policy, former); s.siblings != nil {
		pinner.Layer = s.siblings.Layer
	}
	table := s.config.Table()
	s.modes = map[policy.Mode]http.Handler{}
	for _, mode := range policy.Modes() {
		s.modes[mode] = &admit.Handler{
			Pinner:      pinner,
			Table:       table,
			Mode:        mode,
			OnFailure:   s.config.OnFailure.Actions(),
			Keychain:    s.credentials.For,
			CloudOff:    cloudOff(s.config.Credentials.Clouds),
			Metrics:     h.metrics.admit,
			Reviews:     h.queues.reviews,
			Images:      h.queues.images,
			SlowReviews: h.queues.slowReviews,
			Began:       listen.Began,
			WhenLost:    listen.WhenLost,
		}
	}
}

// newSiblings returns what looks up the other pods of a revision, or nil with --standalone.
func (h *handlers) newSiblings(
	c *config.Config, p *policy.Policy, former *state,
) *sibling.Siblings {
	switch {
	case h.api.list == nil:
		return nil
	case former != nil && former.config.Cache.TTL == c.Cache.TTL &&
		former.config.Output == c.Output &&
		slices.Equal(former.config.RevisionLabels, c.RevisionLabels):
		return former.siblings
	}
	return &sibling.Siblings{
		List: h.api.list, Queue: h.api.siblings, Policy: p, RevisionLabels: c.RevisionLabels,
		TTL: time.Duration(c.Cache.TTL), Metrics: h.metrics.sibling, Panics: h.panics,
	}
}

// newCredentials returns the sources of credentials in their order: pull secrets, the shared Docker
// config, clouds.
func (h *handlers) newCredentials(c config.Credentials) *cluster.Cluster {
	var files keychain.Chain
	if c.DockerConfig != "" {
		files = append(files, &keychain.File{
			Path:   c.DockerConfig,
			Report: func(err error) { h.log.Error(err, "shared Docker config") },
		})
	}
	ambient := &cloud.Ambient{
		Panics:  h.panics,
		Metrics: h.metrics.cloud,
		Report: func(f cloud.Failure) {
			h.log.Info("a cloud gave no credential", "cloud", string(f.Provider),
				"namespace", f.Namespace, "registry", f.Registry, "reason", cloud.Reason(f.Err))
		},
	}
	for _, name := range c.Clouds {
		ambient.Providers = append(ambient.Providers, cloud.Provider(name))
	}
	shared := func(namespace string) keychain.Keychain {
		return append(slices.Clip(files), ambient.For(namespace))
	}
	credentials := &cluster.Cluster{Shared: shared, Metrics: h.metrics.cluster, Panics: h.panics}
	if c.PullSecrets {
		credentials.Get = h.api.get
	}
	return credentials
}

// cloudOff returns what finds the cloud of a host whose identity the config does not switch on.
func cloudOff(on []string) func(host string) string {
	return func(host string) string {
		for _, p := range []cloud.Provider{cloud.Amazon, cloud.Azure, cloud.Google} {
			if p.Owns(host) && !slices.Contains(on, string(p)) {
				return string(p)
			}
		}
		return ""
	}
}

// close closes the parts that next does not have. It waits for their lookups and reads.
func (s *state) close(next *state) {
	if s.credentials != next.credentials {
		s.credentials.Close()
	}
	if s.siblings != next.siblings {
		s.siblings.Close()
	}
	if s.client != next.client {
		s.client.Close()
	}
}
