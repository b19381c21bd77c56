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

// ports are what the server listens on. The servers of controller-runtime, which listen by
// themselves, bound neither the size of a header nor the number of connections.
type ports struct {
	webhook, metrics, probes *listen.Listener // metrics and probes are nil if they are switched off
}

// openPorts opens the ports.
func (s *server) openPorts(r prometheus.Registerer, webhookTLS *tls.Config) (*ports, error) {
	metrics := listen.NewMetrics(r, "webhook", "metrics", "probes")
	var errs []error
	open := func(p listen.Port) *listen.Listener {
		if p.Address == "0" {
			return nil
		}
		p.Log, p.Metrics = s.log, metrics
		l, err := p.Listen()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Name, err))
		}
		return l
	}
	address := net.JoinHostPort(s.options.webhookHost, strconv.Itoa(s.options.webhookPort))
	p := &ports{
		webhook: open(listen.Port{
			Name: "webhook", Address: address, Bounds: webhookBounds, TLS: webhookTLS,
		}),
		metrics: open(listen.Port{
			Name: "metrics", Address: s.options.metrics, Bounds: metricsBounds,
		}),
		probes: open(listen.Port{
			Name: "probes", Address: s.options.probes, Bounds: probesBounds,
		}),
	}
	if err := errors.Join(errs...); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close closes the ports, which is only needed if the manager never served them.
func (p *ports) close() {
	for _, l := range []*listen.Listener{p.webhook, p.metrics, p.probes} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// serving returns an error until the webhook's port is served.
func (p *ports) serving(*http.Request) error {
	if !p.webhook.Serving() {
		return errors.New("the webhook is not served yet")
	}
	return nil
}

// add makes the manager serve the ports.
func (p *ports) add(mgr manager.Manager, webhook, metrics, probes http.Handler) error {
	var errs []error
	for _, s := range []struct {
		name     string
		listener *listen.Listener
		handler  http.Handler
	}{
		{"webhook", p.webhook, webhook},
		{"metrics", p.metrics, metrics},
		{"probes", p.probes, probes},
	} {
		if s.listener == nil {
			continue
		}
		wait := reviewTime
		errs = append(errs, mgr.Add(&manager.Server{
			Name:            s.name,
			Server:          s.listener.Server(s.handler),
			Listener:        s.listener,
			ShutdownTimeout: &wait,
		}))
	}
	return errors.Join(errs...)
}

// metricsHandler answers /metrics. The metrics of controller-runtime's webhook handlers are in its
// global registry.
func metricsHandler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(
		prometheus.Gatherers{r, ctrlmetrics.Registry},
		promhttp.HandlerOpts{
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
