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
)

// ports are what the server listens on. controller-runtime would listen by itself, but neither the
// size of a header nor the number of connections of its servers can be bounded.
type ports struct {
	webhook, metrics, probes *listener // metrics and probes may be nil: none
}

// listen opens the ports. secure changes the TLS settings of the webhook.
func (s *server) listen(r prometheus.Registerer, secure []func(*tls.Config)) (*ports, error) {
	// API servers speak HTTP/1.1 to webhooks, since HTTP/2 would keep all requests on one replica
	// (k8s.io/apiserver/pkg/util/webhook).
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	for _, change := range secure {
		change(config)
	}
	p, m := &ports{}, newConnectionMetrics(r)
	var errs []error
	open := func(name, address string, b bounds, config *tls.Config) *listener {
		if address == "0" {
			return nil
		}
		l, err := listen(name, address, b, config, s.log, m)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return l
	}
	address := net.JoinHostPort(s.options.webhookHost, strconv.Itoa(s.options.webhookPort))
	p.webhook = open("webhook", address, webhookBounds, config)
	p.metrics = open("metrics", s.options.metrics, metricsBounds, nil)
	p.probes = open("probes", s.options.probes, probesBounds, nil)
	if err := errors.Join(errs...); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close closes the ports, which is only needed if the manager never served them.
func (p *ports) close() {
	for _, l := range []*listener{p.webhook, p.metrics, p.probes} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// answers reports an error until the webhook's port is served.
func (p *ports) answers(*http.Request) error {
	if !p.webhook.serving.Load() {
		return errors.New("the webhook is not served yet")
	}
	return nil
}

// add makes the manager serve the ports.
func (p *ports) add(mgr manager.Manager, hooks http.Handler, r *prometheus.Registry, live, ready map[string]healthz.Checker) error {
	var errs []error
	for _, s := range []struct {
		name     string
		listener *listener
		handler  http.Handler
	}{
		{"webhook", p.webhook, hooks},
		{"metrics", p.metrics, metricsHandler(r)},
		{"probes", p.probes, probesHandler(live, ready)},
	} {
		if s.listener == nil {
			continue
		}
		wait := reviewTime
		errs = append(errs, mgr.Add(&manager.Server{
			Name: s.name, Server: s.listener.server(s.handler), Listener: s.listener, ShutdownTimeout: &wait,
		}))
	}
	return errors.Join(errs...)
}

// metricsHandler answers /metrics. controller-runtime's registry, which is a global, has the metrics
// of its webhook handlers.
func metricsHandler(r *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(prometheus.Gatherers{r, ctrlmetrics.Registry}, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}

// probesHandler answers /healthz and /readyz, each with its checks, as controller-runtime does.
func probesHandler(live, ready map[string]healthz.Checker) http.Handler {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": live, "/readyz": ready} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler)
	}
	return mux
}
