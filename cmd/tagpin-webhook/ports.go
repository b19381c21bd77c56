// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/tagpin/tagpin/pkg/listen"
)

// ports are what the server listens on, by name. Ports that are switched off are missing. The
// servers of controller-runtime, which listen by themselves, bound neither the size of a header nor
// the number of connections.
type ports map[string]*listen.Listener

// openPorts opens the ports.
func (s *server) openPorts(r prometheus.Registerer, webhookTLS *tls.Config) (ports, error) {
	webhook := net.JoinHostPort(s.options.webhookHost, strconv.Itoa(s.options.webhookPort))
	metrics := listen.NewMetrics(r, "webhook", "metrics", "probes")
	opened := ports{}
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
			opened.close()
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		opened[p.Name] = l
	}
	return opened, nil
}

// close closes the ports, which is only needed if the manager never served them.
func (p ports) close() {
	for _, l := range p {
		_ = l.Close()
	}
}

// serving returns an error until the webhook's port is served.
func (p ports) serving(*http.Request) error {
	if !p["webhook"].Serving() {
		return errors.New("the webhook is not served yet")
	}
	return nil
}

// add makes the manager serve the ports with the handlers of their names.
func (p ports) add(mgr manager.Manager, handlers map[string]http.Handler) error {
	wait := reviewTime
	for name, l := range p {
		if err := mgr.Add(&manager.Server{
			Name: name, Server: l.Server(handlers[name]), Listener: l, ShutdownTimeout: &wait,
		}); err != nil {
			return err
		}
	}
	return nil
}

// metricsHandler answers /metrics. The metrics of controller-runtime's webhook handlers are in its
// global registry.
func metricsHandler(r *prometheus.Registry) http.Handler {
	all := prometheus.Gatherers{r, ctrlmetrics.Registry}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}

// probesHandler answers /healthz and /readyz, as controller-runtime does.
func probesHandler(ready map[string]healthz.Checker) http.Handler {
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
