// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registrar"
	"github.com/tagpin/tagpin/pkg/registration"
	"github.com/tagpin/tagpin/pkg/reload"
)

// errSettings means that a setting is wrong.
var errSettings = errors.New("bad settings")

// server is one run of the program.
type server struct {
	options options
	// config is the one that the server has started with; configFile has later ones.
	config     *config.Config
	configFile *reload.Files[*config.Config]
	log        logr.Logger
	drainTime  time.Duration

	webhook  *listen.Listener // set by addPorts
	draining atomic.Bool
}

// run serves until ctx ends, and then drains.
func (s *server) run(ctx context.Context) error {
	metrics := newRegistry()
	api, err := s.connect()
	if err != nil {
		return err
	}
	handlers, err := newHandlers(s.config, s.log, metrics, api)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer handlers.close()
	traces, err := newTracing(ctx, s.config.Observability.Tracing, s.log, metrics)
	if err != nil {
		return fmt.Errorf("%w: observability.tracing: %w", errSettings, err)
	}
	defer traces.close()
	mgr, err := s.newManager(api.config)
	if err != nil {
		return err
	}
	source := certificate.NewSource(api.clock.now, s.log, metrics)
	tlsReloads := newTLSReloads(metrics)
	if err := s.addCertificate(mgr, source, tlsReloads); err != nil {
		return err
	}
	webhookTLS, err := s.webhookTLS(mgr, source, tlsReloads)
	if err != nil {
		return err
	}
	err = s.addPorts(mgr, metrics, webhookTLS, map[string]http.Handler{
		"webhook": webhookHandler(handlers, traces),
		"metrics": metricsHandler(metrics),
		"probes": probesHandler(s.log, map[string]healthz.Checker{
			"certificate": source.Ready, "serving": s.serving,
		}),
	})
	if err != nil {
		return err
	}
	c, err := s.registrarConfig(api, handlers, source)
	if err != nil {
		return err
	}
	keeper := registrar.New(c, metrics)
	err = errors.Join(
		mgr.Add(manager.RunnableFunc(keeper.Run)),
		mgr.Add(s.reload(handlers, metrics, keeper.Changed)),
		mgr.Add(watchRegistryFiles(handlers.lookAtFiles, tlsReloads, s.log)),
	)
	if err != nil {
		return err
	}
	return s.drain(ctx, mgr.Start)
}

// webhookHandler answers reviews. The server of controller-runtime's package webhook would count
// and time each of them once more, and say less about them than package admit does.
func webhookHandler(h *handlers, t *tracing) http.Handler {
	mux := http.NewServeMux()
	for _, mode := range policy.Modes() {
		mux.Handle("/"+mode.String(), t.wrap(h.mode(mode)))
	}
	return mux
}

// registrarConfig returns the settings of the registrar.
func (s *server) registrarConfig(
	api apiServer, h *handlers, source *certificate.Source,
) (registrar.Config, error) {
	namespace, err := s.namespace()
	if err != nil {
		return registrar.Config{}, err
	}
	c := registrar.Config{
		Client:    api.client,
		Namespace: namespace,
		DNSName:   s.config.Certificates.Service + "." + namespace + ".svc",
		Version:   moduleVersion(),
		Image:     os.Getenv("TAGPIN_IMAGE"),
		Wanted: func() *registration.Registration {
			return newRegistration(h.current.Load().config, namespace)
		},
		Serving: func() error { return errors.Join(source.Ready(nil), s.serving(nil)) },
		Source:  source,
		Log:     s.log.WithName("registrar"),
	}
	if !s.options.standalone {
		c.Name = s.config.Registration.Name
	}
	if s.selfManaged() {
		c.Secret = &certificate.Secret{
			Client:  api.client.CoreV1().Secrets(namespace),
			Name:    s.config.Certificates.Secret,
			DNSName: c.DNSName,
			Now:     api.clock.now,
		}
	}
	return c, nil
}

// newManager returns the manager, which has no leader: each replica works by itself.
func (s *server) newManager(c *rest.Config) (manager.Manager, error) {
	graceful := shutdownTime
	return manager.New(c, manager.Options{
		Logger:                  s.log,
		Metrics:                 metricsserver.Options{BindAddress: "0"}, // see ports
		HealthProbeBindAddress:  "0",
		PprofBindAddress:        s.config.Observability.Pprof,
		GracefulShutdownTimeout: &graceful,
	})
}
