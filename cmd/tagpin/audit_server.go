// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap/zapcore"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/tagpin/tagpin/pkg/audit"
	"github.com/tagpin/tagpin/pkg/audit/page"
	"github.com/tagpin/tagpin/pkg/fair"
	"github.com/tagpin/tagpin/pkg/listen"
	"github.com/tagpin/tagpin/pkg/panics"
	"github.com/tagpin/tagpin/pkg/process"
	"github.com/tagpin/tagpin/pkg/workload"
)

const (
	// maxScrapes bounds the concurrent reads of the metrics.
	maxScrapes = 4
	// shutdownTime is how long a request may take after the command was stopped.
	shutdownTime = 5 * time.Second
	// jitterDivisor says by how much the time between two audits varies, so that many clusters don't
	// ask a registry together: by a tenth of the interval either way.
	jitterDivisor = 10
	// reportDivisor says how much of Go's memory a report may take: half of it. The rest is for what
	// lookups hold: secrets, manifests and connections.
	reportDivisor = 2
	// firstRetry and lastRetry are the times from a failed audit to the next one: each is twice as
	// long as the one before, and none is longer than the interval. A lost connection is back soon.
	firstRetry = 10 * time.Second
	lastRetry  = 10 * time.Minute
	// lookupsDivisor says when lookups end: after a quarter of the interval. One tenant may have
	// images at registries that hardly answer, and everybody's report waits for them.
	lookupsDivisor = 4
)

// auditServer serves the last report. It keeps only its pages, which are compressed, so that the
// memory is free for the next one.
type auditServer struct {
	mu   sync.Mutex
	page []byte // nil before the first report
	json []byte
	// next is when the next audit begins, if the last one has failed. Otherwise it is zero.
	next time.Time
}

// serve audits the cluster again and again, and serves what it found, until ctx ends.
func (a *auditing) serve(ctx context.Context, t terminal) error {
	logger := process.NewLogger(t.err, zapcore.InfoLevel)
	process.LogLibraries(logger)
	process.LimitMemory(os.DirFS("/"), logger)
	a.patience.limit = "the part of --interval that is for lookups"
	a.lastMissing = &audit.LastMissing{}
	a.report = func(err error) { logger.Info(err.Error()) }
	a.patience.report, a.keychain.Report = a.report, a.report
	a.panics.Report = func(e *panics.Error) {
		logger.Error(e, "bug: please report it with this line", "value", e.Value,
			"stack", string(e.Stack))
	}
	gatherer := prometheus.NewRegistry()
	gatherer.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	port := listen.Port{
		Name: "audit", Address: a.listen, Log: logger,
		Metrics: listen.NewMetrics(gatherer, "audit"),
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
	server := listener.Server(s.handler(gatherer))
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	logger.Info("listening", "address", listener.Addr().String(), "interval", a.interval.String())
	repeated := make(chan struct{})
	go func() {
		defer close(repeated)
		a.repeat(ctx, s, audit.NewMetrics(gatherer, a.interval), logger)
	}()
	select {
	case err = <-failed:
	case <-ctx.Done():
		limited, done := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer done()
		err = errors.Join(server.Shutdown(limited), <-failed)
	}
	cancel()
	<-repeated
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("audit: --listen %s: %w", a.listen, err)
}

// repeat audits the cluster until ctx ends. After a failure, it tries again before the interval is
// over.
func (a *auditing) repeat(
	ctx context.Context, s *auditServer, metrics *audit.Metrics, log logr.Logger,
) {
	retry := a.backoff()
	for {
		began := time.Now()
		jitter := a.interval / jitterDivisor
		next := began.Add(a.interval - jitter + rand.N(2*jitter))
		report, err := a.inTime(ctx, began)
		if err == nil {
			err = s.set(report)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			next = time.Now().Add(retry.Step())
			s.fail(next)
			metrics.Finished(nil, began)
			log.Error(err, "audit failed", "next", next.UTC().Format(time.RFC3339))
		default:
			retry = a.backoff()
			metrics.Finished(report, began)
			logReport(log, report, time.Since(began))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
	}
}

// backoff returns the times from failed audits to the next ones.
func (a *auditing) backoff() wait.Backoff {
	return wait.Backoff{
		Duration: firstRetry, Factor: 2, Jitter: 1.0 / jitterDivisor,
		Steps: math.MaxInt, Cap: min(lastRetry, a.interval),
	}
}

// inTime audits the cluster once. The lookups end after a part of the interval, and what was not
// looked up by then is unknown. If even the pods were not read in the interval, there is no report.
func (a *auditing) inTime(ctx context.Context, began time.Time) (*audit.Report, error) {
	over := fmt.Errorf("the cluster was not read within the %v of --interval", a.interval)
	ctx, cancel := context.WithDeadlineCause(ctx, began.Add(a.interval), over)
	defer cancel()
	lookups := max(a.interval/lookupsDivisor, minInterval/2)
	return a.auditCluster(ctx, began.Add(lookups), func(string) {})
}

// logReport logs what the report says about single containers. Their number is bounded, so that
// nobody can flood the log.
func logReport(log logr.Logger, report *audit.Report, took time.Duration) {
	for _, cause := range report.Causes {
		log.Info("a part of the cluster could not be read", "cause", cause)
	}
	logged := map[string]int{} // by namespace
	for _, f := range report.Containers {
		gone := f.Has(audit.Gone)
		if !gone && len(f.Causes) == 0 || logged[f.Namespace] >= audit.MaxCauses {
			continue
		}
		logged[f.Namespace]++
		message := "a running image could not be checked"
		if gone {
			message = "gone"
		}
		log.Info(message, "namespace", f.Namespace,
			"kind", workload.Kind{Group: f.Workload.Group, Kind: f.Workload.Kind}.String(),
			"name", f.Workload.Name, "container", f.Container, "image", f.Image,
			"details", strings.Join(f.Details, "; "), "cause", strings.Join(f.Causes, "; "))
	}
	log.Info("audited", "pods", report.Summary.Pods, "images", report.Summary.Images,
		"states", report.Summary.States, "ms", took.Milliseconds())
}

// set renders the report that is served from now on.
func (s *auditServer) set(report *audit.Report) error {
	html, err := compressed(func(w io.Writer) error { return page.Write(w, report) })
	if err != nil {
		return err
	}
	text, err := compressed(report.WriteJSON)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page, s.json, s.next = html, text, time.Time{}
	return nil
}

// fail says that an audit has failed, and when the next one begins. The last report is still
// served.
func (s *auditServer) fail(next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = next
}

// missing returns why there is no report yet, and after how many seconds to ask again.
func (s *auditServer) missing() (why string, seconds int) {
	const soon = 10
	s.mu.Lock()
	defer s.mu.Unlock()
	left := time.Until(s.next)
	switch {
	case s.next.IsZero():
		return "the first audit is under way", soon
	case left <= 0:
		return "the last audit failed, and the log says why; another one is under way", soon
	}
	return "the last audit failed, and the log says why; the next one begins at " +
		s.next.UTC().Format(time.RFC3339), soon + int(left.Seconds())
}

// compressed returns what write writes, as gzip.
func compressed(write func(io.Writer) error) ([]byte, error) {
	var text bytes.Buffer
	z := gzip.NewWriter(&text)
	err := errors.Join(write(z), z.Close())
	return text.Bytes(), err
}

// handler answers all paths.
func (s *auditServer) handler(gatherer prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		html := s.page
		s.mu.Unlock()
		s.answer(w, r, "text/html; charset=utf-8", html)
	})
	mux.HandleFunc("GET /report.json", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		text := s.json
		s.mu.Unlock()
		s.answer(w, r, "application/json", text)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	scrapes := &fair.Queue{Capacity: maxScrapes, Share: 1} // one for each address
	mux.Handle("GET /metrics", scrapes.Handler(promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError,
	})))
	return mux
}

// answer sends the last report, which is compressed. If there is none yet, body is nil, and answer
// sends the status 503.
func (s *auditServer) answer(
	w http.ResponseWriter, r *http.Request, contentType string, body []byte,
) {
	header := w.Header()
	header.Set("Content-Security-Policy", page.Policy()+"; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	if body == nil {
		why, seconds := s.missing()
		header.Set("Retry-After", strconv.Itoa(seconds))
		http.Error(w, why, http.StatusServiceUnavailable)
		return
	}
	header.Set("Content-Type", contentType)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		_, _ = w.Write(body) // the client may have left
		return
	}
	if text, err := gzip.NewReader(bytes.NewReader(body)); err == nil { // it always is
		_, _ = io.Copy(w, text)
	}
}

// maxBytes is the memory that a report may take, as far as it depends on what tenants run. If there
// is no memory limit, it is 0: there is no bound.
func (a *auditing) maxBytes() int {
	limit := debug.SetMemoryLimit(-1)
	if a.listen == "" || limit == math.MaxInt64 {
		return 0
	}
	return int(limit / reportDivisor)
}
