// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/tagpin/tagpin/pkg/config"
	"github.com/tagpin/tagpin/pkg/keychain/cluster"
	"github.com/tagpin/tagpin/pkg/policy"
	"github.com/tagpin/tagpin/pkg/registration"
	"github.com/tagpin/tagpin/pkg/reload"
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

// server is one run of the program.
type server struct {
	options options
	// config is the one that the server has started with; configFile has later ones.
	config     *config.Config
	configFile *reload.Files[*config.Config]
	log        logr.Logger
	drain      time.Duration
}

// run serves until ctx ends, then drains.
func (s *server) run(ctx context.Context) error {
	registry := newRegistry()
	asked, restConfig, err := s.cluster()
	if err != nil {
		return err
	}
	handlers, err := newHandlers(s.config, s.log, registry, asked)
	if err != nil {
		return fmt.Errorf("%w: %w", errSettings, err)
	}
	defer handlers.close()
	traces, err := newTracing(ctx, s.config.Observability.Tracing, s.log, registry)
	if err != nil {
		return err
	}
	defer traces.close()
	upkeep, err := s.upkeep(asked, registry, handlers)
	if err != nil {
		return err
	}
	config, err := s.tls(upkeep.certificates)
	if err != nil {
		return err
	}
	ports, err := s.openPorts(registry, config)
	if err != nil {
		return err
	}
	defer ports.close()
	phase := &phase{}
	hooks := webhook.NewServer(webhook.Options{}) // it counts reviews; our own listener serves them
	for _, mode := range []policy.Mode{policy.Enforce, policy.Propose, policy.Keep} {
		hooks.Register("/"+mode.String(), phase.wrap(traces.wrap(handlers.mode(mode))))
	}
	mgr, err := s.manager(restConfig)
	if err != nil {
		return err
	}
	if err := s.add(mgr, phase, ports, hooks.WebhookMux(), upkeep, handlers, registry); err != nil {
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
	c, err := clientConfig(s.options.kubeconfig)
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: no API server: give --kubeconfig, or --standalone to run without: %w", errSettings, err)
	}
	c.QPS, c.Burst = clientQPS, clientBurst
	c.UserAgent = "tagpin-webhook"
	connection := &connection{pingAfter: pingAfter, pingTimeout: pingTimeout}
	connection.use(c)
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	// Lists have a client, and so a limit, of their own: a tenant who makes many necessary holds up no pull secrets.
	listing, err := kubernetes.NewForConfig(rest.CopyConfig(c))
	if err != nil {
		return api{}, nil, fmt.Errorf("%w: %w", errSettings, err)
	}
	a := api{client: client, connection: connection, secrets: cluster.Places(), siblings: sibling.Places(), objects: newObjects()}
	a.getter = cluster.FromClient(client.CoreV1().RESTClient(), a.secrets, a.objects)
	a.lister = sibling.FromClient(listing.CoreV1().RESTClient(), a.siblings, a.objects)
	return a, c, nil
}

// clientConfig is that of the cluster it runs in, or of a file.
func clientConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}

// upkeep is what keeps the certificate and the registration.
func (s *server) upkeep(a api, r prometheus.Registerer, h *handlers) (*upkeep, error) {
	namespace, err := s.ownNamespace()
	if err != nil {
		return nil, err
	}
	own, err := s.certificates(a, namespace)
	if err != nil {
		return nil, err
	}
	u := newUpkeep(s.log.WithName("upkeep"), hook{client: a.client, name: s.registrationName()}, own, r)
	u.namespace = namespace
	u.wanted = func() *registration.Registration { return newRegistration(h.current.Load().config) }
	return u, nil
}

// manager runs the servers. It has no leader: each replica answers by itself.
func (s *server) manager(c *rest.Config) (manager.Manager, error) {
	graceful := shutdownTime
	return manager.New(c, manager.Options{
		Logger:                  s.log,
		Metrics:                 metricsserver.Options{BindAddress: "0"}, // see ports
		HealthProbeBindAddress:  "0",
		PprofBindAddress:        s.config.Observability.Pprof,
		GracefulShutdownTimeout: &graceful,
	})
}

// add gives the manager all that it runs.
func (s *server) add(mgr manager.Manager, p *phase, ports *ports, hooks http.Handler, u *upkeep, h *handlers, r *prometheus.Registry) error {
	own := u.certificates
	serving := p.ready(ports.serving)
	u.answers = func() error { return errors.Join(own.ready(nil), serving(nil)) }
	runnables := []manager.Runnable{manager.RunnableFunc(u.run), manager.RunnableFunc(s.reload(h, u.wake))}
	if own.secret == nil {
		runnables = append(runnables, manager.RunnableFunc(func(ctx context.Context) error {
			own.poll(ctx, s.log)
			return nil
		}))
	}
	probes := probesHandler(map[string]healthz.Checker{"certificate": own.ready, "serving": serving})
	errs := []error{ports.add(mgr, hooks, metricsHandler(r), probes)}
	for _, runnable := range runnables {
		errs = append(errs, mgr.Add(runnable))
	}
	return errors.Join(errs...)
}

// reload puts each valid version of the config file into force, and then calls changed.
func (s *server) reload(h *handlers, changed func()) func(context.Context) error {
	s.note(s.config)
	return func(ctx context.Context) error {
		s.configFile.Poll(ctx, h.load, func(c *config.Config, err error) {
			h.reloads.count(err)
			if err != nil {
				s.log.Error(err, "config refused; the former one stays in force")
				return
			}
			s.log.Info("config reloaded")
			s.note(c)
			if names := needRestart(s.config, c); len(names) > 0 {
				s.log.Info("settings have changed that take effect after a restart", "settings", names)
			}
			changed()
		})
		return nil
	}
}

// needRestart returns the names of the settings in which two configs differ and that are only read
// at the start.
func needRestart(a, b *config.Config) (names []string) {
	if a.Observability != b.Observability {
		names = append(names, "observability")
	}
	if a.Certificates != b.Certificates {
		names = append(names, "certificates")
	}
	if a.Registration.Name != b.Registration.Name {
		names = append(names, "registration.name")
	}
	return names
}

func (s *server) note(c *config.Config) {
	for _, note := range notes(c, s.options.standalone) {
		s.log.Info(note)
	}
}

// notes names the settings that have no effect, or not all that one may expect: better said than found out.
func notes(c *config.Config, standalone bool) []string {
	var notes []string
	selfManaged := c.Certificates.Mode == config.SelfManaged
	if standalone && selfManaged {
		notes = append(notes, "certificates.mode self-managed needs an API server: standalone the files in --cert-dir are served, and read again when they change")
	}
	if standalone && c.Registration.Name != "" {
		notes = append(notes, "registration.name has no effect standalone")
	}
	if !standalone && selfManaged && c.Registration.Name == "" {
		notes = append(notes, "no registration.name: put ca.crt of the secret "+c.Certificates.Secret+" into the registration's caBundle, and whenever it changes")
	}
	return notes
}
