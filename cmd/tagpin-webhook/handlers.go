// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/admit"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain/cloud"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registry"
	"github.com/tagpin/tagpin/pkg/resolve"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// handlers answers the reviews of each mode as the current config says. A review ends with the
// config that it began with. Digests, and what was learned about registries, outlive every config:
// if an operator edits the config while a registry is down, waiting pods don't suffer.
type handlers struct {
	log     logr.Logger
	api     apiServer
	metrics handlerMetrics
	panics  *panics.Reporter
	queues  queues

	answers  *resolve.Answers
	patience pin.Patience
	learned  *registry.Learned

	current atomic.Pointer[state]
	using   sync.RWMutex // held to begin a review, and to change current

	mu     sync.Mutex    // serialises load and close
	closed chan struct{} // closed when all former states are
}

// handlerMetrics are the metrics of the packages that answer a review.
type handlerMetrics struct {
	admit    *admit.Metrics
	cloud    *cloud.Metrics
	cluster  *cluster.Metrics
	resolve  *resolve.Metrics
	registry *registry.Metrics
	sibling  *sibling.Metrics
}

func newHandlers(
	c *config.Config, log logr.Logger, r prometheus.Registerer, api apiServer,
) (*handlers, error) {
	h := &handlers{
		log: log,
		api: api,
		metrics: handlerMetrics{
			admit:    admit.NewMetrics(r),
			cloud:    cloud.NewMetrics(r),
			cluster:  cluster.NewMetrics(r),
			resolve:  resolve.NewMetrics(r),
			registry: registry.NewMetrics(r),
			sibling:  sibling.NewMetrics(r),
		},
		panics:  newPanics(log, r),
		learned: &registry.Learned{},
		queues:  newQueues(),
		closed:  make(chan struct{}),
	}
	close(h.closed)
	h.answers = &resolve.Answers{Panics: h.panics}
	if err := h.load(c); err != nil {
		return nil, err
	}
	r.MustRegister(queueMetrics(h.queuesByName))
	return h, nil
}

// queuesByName returns the queues with the names that they have in metrics.
func (h *handlers) queuesByName() map[string]queue {
	byName := map[string]queue{
		"lookups":         h.current.Load().places,
		"gets":            h.queues.gets,
		"manifests":       h.queues.manifests,
		"reviews":         h.queues.reviews,
		"images":          h.queues.images,
		"slow-reviews":    h.queues.slowReviews,
		"pending-lookups": h.queues.pending,
		"credentials":     h.queues.credentials,
	}
	if h.api.client != nil {
		byName["secrets"] = h.api.secrets
		byName["siblings"] = h.api.siblings
		byName["objects"] = h.api.objects
	}
	return byName
}

// load makes c the current config. If it returns an error, the former one stays.
func (h *handlers) load(c *config.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	former := h.current.Load()
	next := &state{config: c}
	err := h.addClient(next, former)
	h.addResolver(next, former)
	h.addModes(next, former)
	if c.Registration.Name != "" {
		err = errors.Join(err, newRegistration(c, "").Validate())
	}
	if err != nil {
		return err
	}
	h.using.Lock()
	h.current.Store(next)
	h.using.Unlock()
	h.answers.Resize(c.Cache.Size)
	if former != nil {
		h.retire(former, next)
	}
	return nil
}

// retire closes the parts of former that next does not have, when the reviews that began with
// former have ended. It closes states in their order, since an older one may have the same parts.
func (h *handlers) retire(former, next *state) {
	before, done := h.closed, make(chan struct{})
	h.closed = done
	go func() {
		defer close(done)
		<-before
		former.reviews.Wait()
		former.close(next)
	}()
}

// mode returns the handler of a mode's path. If it panics, it answers the review with an error. The
// API server then does what the registration's failurePolicy says.
func (h *handlers) mode(m policy.Mode) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := h.use()
		defer s.reviews.Done()
		err := h.panics.Catch("answering a review", func() error {
			s.modes[m].ServeHTTP(w, r)
			return nil
		})
		if err != nil {
			http.Error(w, "tagpin: "+err.Error(), http.StatusInternalServerError)
		}
	})
}

// use returns the current state, which is not closed before the caller calls reviews.Done.
func (h *handlers) use() *state {
	h.using.RLock()
	defer h.using.RUnlock()
	s := h.current.Load()
	s.reviews.Add(1)
	return s
}

// lookAtFiles looks at the TLS files of the current config's registries, and returns an error for
// each registry whose files are refused.
func (h *handlers) lookAtFiles() error { return h.current.Load().client.LookAtFiles() }

// close cancels the lookups and reads that are under way and waits for them. It must be called
// after the last review.
func (h *handlers) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	<-h.closed
	h.answers.Close()
	h.learned.Close()
	h.current.Load().close(&state{})
}

// newPanics returns a Reporter that logs and counts panics. Each panic is a bug that has stopped
// one review or one lookup.
func newPanics(log logr.Logger, r prometheus.Registerer) *panics.Reporter {
	caught := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tagpin_panics_total",
		Help: "Bugs that stopped a review or a lookup. The log has each with its stack.",
	})
	r.MustRegister(caught)
	return &panics.Reporter{Report: func(e *panics.Error) {
		caught.Inc()
		log.Error(e, "bug: please report it with this line",
			"value", e.Value, "stack", string(e.Stack))
	}}
}
