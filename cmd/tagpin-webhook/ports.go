// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tagpin/tagpin/pkg/certificate"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/reminder"
)

// addPorts opens the ports, which the manager serves with the handlers of their names. The servers
// of controller-runtime, which listen by themselves, bound neither the size of a header nor the
// number of connections.
func (s *server) addPorts(
	mgr manager.Manager, r prometheus.Registerer, webhookTLS *tls.Config,
	handlers map[string]http.Handler,
) error {
	webhook := net.JoinHostPort(s.options.webhookHost, strconv.Itoa(s.options.webhookPort))
	metrics, wait := listen.NewMetrics(r, "webhook", "metrics", "probes"), reviewTime
	// The context of each connection, and so of its requests, is made from this one.
	base := logr.NewContext(context.Background(), s.log.WithName("admission"))
	for _, p := range []listen.Port{
		{Name: "webhook", Address: webhook, Bounds: webhookBounds, TLS: webhookTLS},
		{Name: "metrics", Address: s.options.metrics, Bounds: metricsBounds},
		{Name: "probes", Address: s.options.probes, Bounds: probesBounds},
	} {
		if p.Address == "0" {
			continue
		}
		p.Log, p.Metrics = s.log, metrics
		l, err := p.Listen()
		if err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
		if p.Name == "webhook" {
			s.webhook = l
		}
		server := l.Server(handlers[p.Name])
		server.BaseContext = func(net.Listener) context.Context { return base }
		err = mgr.Add(&manager.Server{
			Name: p.Name, Server: server, Listener: l, ShutdownTimeout: &wait,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Errors of serving.
var (
	errDraining  = errors.New("draining")
	errNotServed = errors.New("the webhook is not served yet")
)

// serving returns an error before the webhook's port is served, and while the server drains.
func (s *server) serving(*http.Request) error {
	switch {
	case s.draining.Load():
		return errDraining
	case !s.webhook.Serving():
		return errNotServed
	}
	return nil
}

// metricsHandler answers /metrics. The metrics of the API server's client are in the global
// registry of controller-runtime.
func metricsHandler(r *prometheus.Registry) http.Handler {
	all := prometheus.Gatherers{r, ctrlmetrics.Registry}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", newScrapes().Handler(promhttp.HandlerFor(all, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
	})))
	return mux
}

// reported returns a check that logs why it fails when the reason changes, and again now and then
// while it lasts, and when it no longer fails. Probes come every few seconds.
func reported(log logr.Logger, name string, check healthz.Checker) healthz.Checker {
	log = log.WithName("readiness").WithValues("check", name)
	var mu sync.Mutex
	var said reminder.Reminder
	return func(r *http.Request) error {
		err, now := check(r), ""
		if err != nil {
			now = err.Error()
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case !said.Due(now):
		case err == nil:
			log.Info("ready again")
		case errors.Is(err, errDraining), errors.Is(err, errNotServed),
			errors.Is(err, certificate.ErrNone): // as at each start or end
			log.Info("not ready", "reason", now)
		default:
			log.Error(err, "not ready")
		}
		return err
	}
}

// probesHandler answers /healthz and /readyz, as controller-runtime does.
func probesHandler(log logr.Logger, ready map[string]healthz.Checker) http.Handler {
	for name, check := range ready {
		ready[name] = reported(log, name, check)
	}
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/healthz": {"ping": healthz.Ping},
		"/readyz":  ready,
	} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler)
	}
	return mux
}
