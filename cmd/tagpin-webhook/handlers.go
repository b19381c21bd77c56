// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/keychain"
	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// handlers answers the reviews of each mode by the current config. A request ends by the config that it began with.
type handlers struct {
	log     logr.Logger
	api     api
	metrics *admit.Metrics
	reads   *cluster.Metrics
	lookups *resolve.Metrics
	wire    *registry.Metrics
	lists   *sibling.Metrics
	reloads *reloads
	panics  *panics.Reporter
	queues  *queueMetrics

	answers *resolve.Answers  // of all configs
	learned *registry.Learned // by the clients of all configs

	manifests *fair.Queue  // of all clients
	gets      *fair.Queue  // of all clients
	reviews   *fair.Groups // of all configs
	waiting   *fair.Room   // of all configs
	pending   *fair.Room   // of all configs
	images    *fair.Room   // of all configs

	current atomic.Pointer[state]
	using   sync.RWMutex // held to begin a review, and to change current

	mu     sync.Mutex    // serialises load and close
	closed chan struct{} // closed when all former states are
}

// api is what is asked of the API server. The zero value is for standalone: nothing.
type api struct {
	client     kubernetes.Interface
	getter     cluster.Getter
	lister     sibling.Lister
	connection *connection

	// The queues of getter and lister. If nil, there is no API server.
	secrets, siblings, objects *fair.Queue
}

// state is what one config has made. Parts whose settings stay are taken over by the next.
type state struct {
	config      *config.Config
	modes       map[policy.Mode]http.Handler
	client      *registry.Client
	places      *fair.Queue // of look-ups
	cache       *resolve.Cache
	credentials *cluster.Cluster
	siblings    *sibling.Siblings // nil: standalone

	reviews sync.WaitGroup
}

func newHandlers(c *config.Config, log logr.Logger, r prometheus.Registerer, a api) (*handlers, error) {
	h := &handlers{
		log:     log,
		api:     a,
		metrics: admit.NewMetrics(r),
		reads:   cluster.NewMetrics(r),
		lookups: resolve.NewMetrics(r),
		wire:    registry.NewMetrics(r),
		lists:   sibling.NewMetrics(r),
		reloads: newReloads(r),
		panics:  newPanics(log, r),
		queues:  newQueueMetrics(r),
		learned: &registry.Learned{},
		closed:  make(chan struct{}),
	}
	close(h.closed)
	h.manifests, h.reviews, h.images, h.waiting = newManifests(), newReviews(), newImages(), newWaiting()
	h.gets = newGets()
	h.queues.add("gets", h.gets)
	h.queues.add("manifests", h.manifests)
	h.queues.add("reviews", h.reviews)
	h.queues.add("images", h.images)
	h.queues.add("waiting", h.waiting)
	h.pending = resolve.Pending()
	h.queues.add("pending", h.pending)
	if a.secrets != nil {
		h.queues.add("secrets", a.secrets)
	}
	if a.siblings != nil {
		h.queues.add("siblings", a.siblings)
		h.queues.add("objects", a.objects)
	}
	h.answers = &resolve.Answers{Limits: c.Limits(), Panics: h.panics}
	return h, h.load(c)
}

// load makes c the current config. Where it fails, the last one stays.
func (h *handlers) load(c *config.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.current.Load()
	next := &state{config: c}
	if err := errors.Join(next.resolve(h, old), next.answer(h, old), next.register()); err != nil {
		return err
	}
	h.using.Lock()
	h.current.Store(next)
	h.using.Unlock()
	h.answers.Set(c.Limits())
	h.queues.add("lookups", next.places)
	if old != nil {
		h.retire(old, next)
	}
	return nil
}

// retire closes what next has not taken over of old, when the reviews that began with it have ended; one state after the other,
// as an older one may have had the same parts.
func (h *handlers) retire(old, next *state) {
	before, done := h.closed, make(chan struct{})
	h.closed = done
	go func() {
		defer close(done)
		<-before
		old.reviews.Wait()
		old.close(next)
	}()
}

// resolve makes the client and the layers on it, or takes over the old ones. Digests, and what was
// learned about registries, outlive every change of the config: an operator who edits it while a registry
// is down takes nothing away from the pods that are waiting.
func (s *state) resolve(h *handlers, old *state) error {
	c := s.config
	s.places = resolve.Places(c.MaxInFlightPerNamespace)
	if old != nil && old.config.MaxInFlightPerNamespace == c.MaxInFlightPerNamespace {
		s.places = old.places
	}
	if old != nil && reflect.DeepEqual(old.config.Registries, c.Registries) && reflect.DeepEqual(old.config.Network, c.Network) {
		s.client = old.client
	} else {
		client, err := c.Client()
		if err != nil {
			return err
		}
		client.UserAgent, client.Metrics, client.Panics = userAgent(), h.wire, h.panics
		client.Learned, client.Gets, client.Manifests = h.learned, h.gets, h.manifests
		s.client = client
	}
	s.cache = &resolve.Cache{
		Next:    &resolve.Limit{Next: &resolve.Registry{Client: s.client}, Places: s.places, Pending: h.pending},
		Answers: h.answers, Settings: s.client.Settings,
	}
	return s.client.Init()
}

// register checks that what the config has registered can be.
func (s *state) register() error {
	if s.config.Registration.Name == "" {
		return nil
	}
	return newRegistration(s.config).Validate()
}

// answer makes the handlers.
func (s *state) answer(h *handlers, old *state) error {
	rules, errPolicy := s.config.Policy()
	table, errTable := s.config.Table()
	if err := errors.Join(errPolicy, errTable); err != nil {
		return err
	}
	if old != nil && reflect.DeepEqual(old.config.Credentials, s.config.Credentials) {
		s.credentials = old.credentials
	} else {
		s.credentials = h.newCredentials(s.config.Credentials)
	}
	mirrors := &resolve.Mirrors{Next: &resolve.Credentials{Next: s.cache}, Client: s.client}
	measured := &resolve.Measured{Next: mirrors, Metrics: h.lookups, Label: s.client.Label}
	pinner := &pin.Pinner{Policy: rules, Resolver: &resolve.Traced{Next: measured}, Panics: h.panics}
	if s.siblings = h.newSiblings(s.config, &pinner.Policy, old); s.siblings != nil {
		pinner.Layer = s.siblings.Layer
	}
	s.modes = map[policy.Mode]http.Handler{}
	for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
		s.modes[mode] = &admit.Handler{
			Pinner:    pinner,
			Table:     table,
			Mode:      mode,
			OnFailure: onFailure(s.config.OnFailure),
			Keychain:  s.credentials.For,
			Metrics:   h.metrics,
			Reviews:   h.reviews,
			Images:    h.images,
			Waiting:   h.waiting,
			Began:     listen.Began,
		}
	}
	return nil
}

// newSiblings remembers what pods run, or takes over the old one: standalone there is none.
func (h *handlers) newSiblings(c *config.Config, p *policy.Policy, old *state) *sibling.Siblings {
	switch {
	case h.api.lister == nil:
		return nil
	case old != nil && old.config.Cache.TTL == c.Cache.TTL && old.config.Output == c.Output &&
		slices.Equal(old.config.RevisionLabels, c.RevisionLabels):
		return old.siblings
	}
	return &sibling.Siblings{
		Lister: h.api.lister, Policy: p, RevisionLabels: c.RevisionLabels,
		TTL: time.Duration(c.Cache.TTL), Metrics: h.lists, Panics: h.panics,
	}
}

func onFailure(f config.OnFailure) admit.OnFailure {
	return admit.OnFailure{
		NotFound:     admit.FailurePolicy(f.NotFound),
		Unauthorized: admit.FailurePolicy(f.Unauthorized),
		Unavailable:  admit.FailurePolicy(f.Unavailable),
		Invalid:      admit.FailurePolicy(f.Invalid),
	}
}

// newCredentials puts the sources of credentials in their order: pull secrets, the shared Docker config, clouds.
func (h *handlers) newCredentials(c config.Credentials) *cluster.Cluster {
	var files keychain.Chain
	if c.DockerConfig != "" {
		files = append(files, &keychain.File{
			Path:   c.DockerConfig,
			Report: func(err error) { h.log.Error(err, "shared Docker config") },
		})
	}
	ambient := &cloud.Ambient{Panics: h.panics, Report: func(p cloud.Provider, _ error) { // an SDK's error may hold a body or a token
		h.log.Info("a cloud gave no credential", "cloud", string(p))
	}}
	for _, name := range c.Clouds {
		ambient.Providers = append(ambient.Providers, cloud.Provider(name))
	}
	shared := func(namespace string) keychain.Keychain {
		return append(slices.Clip(files), ambient.For(namespace))
	}
	credentials := &cluster.Cluster{Shared: shared, Metrics: h.reads, Panics: h.panics}
	if c.PullSecrets {
		credentials.Getter = h.api.getter
	}
	return credentials
}

// mode is the handler of a mode's path.
func (h *handlers) mode(m policy.Mode) http.Handler {
	log := h.log.WithName("admission")
	return recovering(h.panics, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := h.use()
		defer s.reviews.Done()
		s.modes[m].ServeHTTP(w, r.WithContext(logr.NewContext(r.Context(), log)))
	}))
}

// use is the current state, which is not closed before the review is done.
func (h *handlers) use() *state {
	h.using.RLock()
	defer h.using.RUnlock()
	s := h.current.Load()
	s.reviews.Add(1)
	return s
}

// close cancels the look-ups and reads that are under way and waits for them. There are no requests any more.
func (h *handlers) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	<-h.closed
	h.answers.Close()
	h.learned.Close()
	h.current.Load().close(&state{})
}

// close waits for the look-ups and reads in flight of those parts that next does not have.
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
