// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/page"
	"github.com/tagpin/tagpin/pkg/listen"
)

const (
	// maxScrapes bounds the concurrent reads of the metrics.
	maxScrapes = 4
	// shutdownTime is how long a request may take after the command was stopped.
	shutdownTime = 5 * time.Second
	// jitter is the part of the interval by which it varies, so that many clusters don't ask a
	// registry together.
	jitter = 10
	// maxLogged is the number of containers of one namespace that are logged in an audit.
	maxLogged = 20
)

// auditServer serves the last report.
type auditServer struct {
	mu   sync.Mutex
	page []byte // nil before the first report
	json []byte
}

// serve audits the cluster again and again, and serves what it found, until ctx ends.
func (a *auditing) serve(ctx context.Context, t terminal) error {
	logger := slog.New(slog.NewJSONHandler(t.err, nil))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	port := listen.Port{
		Name: "audit", Address: a.listen, Log: logr.FromSlogHandler(logger.Handler()),
		Metrics: listen.NewMetrics(registry, "audit"),
		Bounds: listen.Bounds{
			Connections: 64, PerPeer: 16, ReadTime: 5 * time.Second, WriteTime: time.Minute,
			IdleTime: time.Minute,
		},
	}
	listener, err := port.Listen()
	if err != nil {
		return fmt.Errorf("audit: --listen %s: %w", a.listen, err)
	}
	s := &auditServer{}
	server := listener.Server(s.handler(registry))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	logger.Info("listening", "address", listener.Addr().String(), "interval", a.interval.String())
	repeated := make(chan struct{})
	go func() {
		defer close(repeated)
		a.repeat(ctx, s, audit.NewMetrics(registry, a.interval), logger)
	}()
	select {
	case err = <-failed:
	case <-ctx.Done():
		ending, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer done()
		err = errors.Join(server.Shutdown(ending), <-failed)
	}
	cancel()
	<-repeated
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("audit: --listen %s: %w", a.listen, err)
}

// repeat audits the cluster until ctx ends.
func (a *auditing) repeat(
	ctx context.Context, s *auditServer, metrics *audit.Metrics, log *slog.Logger,
) {
	for {
		began := time.Now()
		report, err := a.inTime(ctx, began)
		if err == nil {
			err = s.set(report)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			metrics.Finished(nil, began)
			log.Error("audit failed", "error", err.Error())
		default:
			metrics.Finished(report, began)
			logReport(log, report, time.Since(began))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(a.interval - a.interval/jitter + rand.N(2*a.interval/jitter)):
		}
	}
}

// inTime audits the cluster once. The lookups end when the next audit is due, and what was not
// looked up by then is unknown. If even the pods were not read by then, there is no report.
func (a *auditing) inTime(ctx context.Context, began time.Time) (*audit.Report, error) {
	over := fmt.Errorf("the cluster was not read within the %v of --interval", a.interval)
	ctx, cancel := context.WithDeadlineCause(ctx, began.Add(a.interval+minInterval), over)
	defer cancel()
	return a.once(ctx, began.Add(a.interval), func(string) {})
}

func logReport(log *slog.Logger, report *audit.Report, took time.Duration) {
	for _, problem := range report.Problems {
		log.Warn("a part of the cluster could not be read", "error", problem)
	}
	logged := map[string]int{} // by namespace
	for _, f := range report.Containers {
		gone := f.Has(audit.Gone)
		if !gone && len(f.Causes) == 0 || logged[f.Namespace] >= maxLogged {
			continue
		}
		logged[f.Namespace]++
		message := "lookup failed"
		if gone {
			message = "gone"
		}
		log.Warn(message, "namespace", f.Namespace, "workload", f.Workload.String(),
			"container", f.Container, "image", f.Image, "details", f.Details, "causes", f.Causes)
	}
	log.Info("audited", "pods", report.Summary.Pods, "images", report.Summary.Images,
		"states", report.Summary.States, "ms", took.Milliseconds())
}

// set renders the report that is served from now on.
func (s *auditServer) set(report *audit.Report) error {
	var html bytes.Buffer
	if err := page.Write(&html, report); err != nil {
		return err
	}
	text, err := json.Marshal(report)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.json = html.Bytes(), text
	return nil
}

// handler answers all paths.
func (s *auditServer) handler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		html := s.page
		s.mu.Unlock()
		write(w, "text/html; charset=utf-8", html)
	})
	mux.HandleFunc("GET /report.json", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		text := s.json
		s.mu.Unlock()
		write(w, "application/json", text)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes,
	}))
	return mux
}

// write answers with the last report. Before the first one, there is none.
func write(w http.ResponseWriter, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Security-Policy", page.Policy()+"; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	if body == nil {
		header.Set("Retry-After", "10")
		http.Error(w, "the first audit is under way", http.StatusServiceUnavailable)
		return
	}
	header.Set("Content-Type", contentType)
	_, _ = w.Write(body) // the client may have left
}
