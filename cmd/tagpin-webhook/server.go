// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/pin"
	"github.com/tagpin/tagpin/pkg/sibling"
)

// errSettings says that what is wrong is a setting: nothing is served.
var errSettings = errors.New("bad settings")

// Limits of requests to the API server: what there is are gets of pull secrets and service accounts, remembered for
// seconds, and a list of pods for an owner revision. client-go's own 5 a second would hold up the first pods of a hundred
// namespaces for a minute; the API server guards itself by priority and fairness.
const (
	clientQPS   = 200
	clientBurst = 400
)

// shutdownTime is what reviews under way have to end, after the drain: longer than the API server waits for any.
const shutdownTime = 15 * time.Second

// server is one run of the program.
type server struct {
	options options
	source  *config.Source
	log     logr.Logger
	drain   time.Duration
}

// run serves until ctx ends, then drains.
func (s *server) run(ctx context.Context) error {
	registry := newRegistry()
	asked, restConfig, err := s.cluster()
	if err != nil {
		return err
	}
	handlers, err := newHandlers(s.source.Current(), s.log, registry, asked)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer handlers.close()
	traces, err := newTracing(ctx, s.source.Current().Observability.Tracing, s.log, registry)
	if err != nil {
		return err
	}
	defer traces.close()
	tlsOptions, watcher, err := s.tls()
	if err != nil {
		return err
	}
	phase := &phase{}
	hooks := webhook.NewServer(webhook.Options{Host: s.options.webhookHost, Port: s.options.webhookPort, TLSOpts: tlsOptions})
	for _, mode := range []pin.Mode{pin.Enforce, pin.DryRun, pin.Keep} {
		hooks.Register("/"+mode.String(), phase.wrap(traces.wrap(handlers.mode(mode))))
	}
	mgr, err := s.manager(restConfig, hooks)
	if err != nil {
		return err
	}
	if err := s.add(mgr, phase, hooks, watcher, handlers, registry); err != nil {
		return err
	}
	return s.serve(ctx, mgr, phase)
}

// serve starts the manager, and ends it a drain after ctx.
func (s *server) serve(ctx context.Context, mgr manager.Manager, phase *phase) error {
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ended := make(chan struct{})
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		select {
		case <-ctx.Done():
		case <-ended:
			return
		}
		s.log.Info("ending: not ready, serving on", "for", s.drain.String())
		phase.draining.Store(true)
		timer := time.NewTimer(s.drain)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ended:
		}
		end()
	}()
	err := mgr.Start(serving)
	close(ended)
	<-drained
	return err
}

// cluster is how the API server is asked. Standalone there is none: the manager gets an address that it never asks.
func (s *server) cluster() (api, *rest.Config, error) {
	if s.options.standalone {
		return api{}, &rest.Config{Host: "https://standalone.invalid"}, nil
	}
	c, err := clientcmd.BuildConfigFromFlags("", s.options.kubeconfig)
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: no API server: give --kubeconfig, or --standalone to run without: %w", errSettings, err)
	}
	c.QPS, c.Burst = clientQPS, clientBurst
	c.UserAgent = "tagpin-webhook"
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	// Lists have a client, and so a limit, of their own: a tenant who makes many necessary holds up no pull secrets.
	listing, err := kubernetes.NewForConfig(rest.CopyConfig(c))
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	return api{getter: cluster.FromClient(client.CoreV1()), lister: sibling.FromClient(listing.CoreV1().RESTClient())}, c, nil
}

// manager runs the servers. It has no leader: each replica answers by itself. Metrics are served by our own server, from
// a registry that is not a global.
func (s *server) manager(c *rest.Config, hooks webhook.Server) (manager.Manager, error) {
	graceful := shutdownTime
	return manager.New(c, manager.Options{
		Logger:                  s.log,
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress:  s.options.probes,
		PprofBindAddress:        s.source.Current().Observability.Pprof,
		WebhookServer:           hooks,
		GracefulShutdownTimeout: &graceful,
	})
}

// add gives the manager all that runs beside the webhook.
func (s *server) add(mgr manager.Manager, p *phase, hooks webhook.Server, watcher *certwatcher.CertWatcher, h *handlers, r *prometheus.Registry) error {
	runnables := []manager.Runnable{hooks, watcher, manager.RunnableFunc(s.reload(h))}
	metrics, err := metricsServer(s.options.metrics, r)
	if err != nil {
		return err
	}
	if metrics != nil {
		runnables = append(runnables, metrics)
	}
	errs := []error{
		mgr.AddHealthzCheck("ping", p.alive),
		mgr.AddReadyzCheck("serving", p.ready(hooks.StartedChecker())),
	}
	for _, runnable := range runnables {
		errs = append(errs, mgr.Add(runnable))
	}
	return errors.Join(errs...)
}

// reload takes up the config file whenever it changes, if it is good.
func (s *server) reload(h *handlers) func(context.Context) error {
	began := s.source.Current()
	s.note(began)
	return func(ctx context.Context) error {
		return s.source.Run(ctx, func(c *config.Config, err error) error {
			if err == nil {
				err = h.load(c)
			}
			h.reloads.count(err)
			if err != nil {
				s.log.Error(err, "config refused, the last good one stays")
				return err
			}
			s.log.Info("config reloaded")
			if c.Observability != began.Observability {
				s.log.Info("observability has changed: a restart takes that up")
			}
			s.note(c)
			return nil
		})
	}
}

func (s *server) note(c *config.Config) {
	for _, note := range notBuilt(c) {
		s.log.Info(note)
	}
}

// notBuilt names the settings that have no effect so far: better said than found out.
func notBuilt(c *config.Config) []string {
	var notes []string
	if c.Certificates.Mode == config.SelfManaged {
		notes = append(notes, "certificates.mode self-managed has no effect yet: the files in --cert-dir are served, and read again when they change")
	}
	return notes
}
