// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// sampled is the share of reviews that are traced where the API server has no trace that says whether to.
	sampled = 0.1
	// maxSpans are those that wait to be sent; more are dropped, so that a slow collector holds up no review.
	maxSpans = 2048
	// sendTime is what one batch has to be sent, and at the end all that are left.
	sendTime = 3 * time.Second
)

// tracing makes a trace of some reviews, and sends their spans to a collector. Nil: none.
type tracing struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	log      logr.Logger
}

// newTracing sends to an OTLP endpoint over HTTP; endpoint is the config's, and empty for none. What OpenTelemetry's own
// environment variables say of headers, the sampler and attributes of the resource holds beside it.
func newTracing(ctx context.Context, endpoint string, log logr.Logger, r prometheus.Registerer) (*tracing, error) {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_trace_spans_total",
		Help: "Spans for the OTLP endpoint, by result: sent, or failed where it did not take them; only while tracing is on.",
	}, []string{"result"})
	r.MustRegister(spans)
	if endpoint == "" {
		return nil, nil
	}
	log = log.WithName("tracing")
	otel.SetLogger(log)
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Error(err, "tracing") }))
	client, err := newOTLP(endpoint, os.Getenv("OTEL_EXPORTER_OTLP_HEADERS"))
	if err != nil {
		return nil, fmt.Errorf("%w: observability.tracing: %w", errSettings, err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "tagpin-webhook"), attribute.String("service.version", moduleVersion())), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("%w: observability.tracing: %w", errSettings, err)
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(about),
		sdktrace.WithBatcher(newCollector(otlptrace.NewUnstarted(client), log, spans), sdktrace.WithMaxQueueSize(maxSpans), sdktrace.WithExportTimeout(sendTime)),
	}
	if _, set := os.LookupEnv("OTEL_TRACES_SAMPLER"); !set {
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sampled))))
	}
	provider := sdktrace.NewTracerProvider(options...)
	return &tracing{provider: provider, tracer: provider.Tracer("github.com/tagpin/tagpin"), log: log}, nil
}

// wrap makes a span of each review.
func (t *tracing) wrap(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, s := span.Serve(r.Context(), t.tracer, "review", r.Header)
		defer s.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// close sends what is left, for a while. There are no reviews any more.
func (t *tracing) close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Error(err, "the last spans are lost")
	}
}

// collector is an exporter that tells its failures to our log, once until it works again.
type collector struct {
	sdktrace.SpanExporter
	log          logr.Logger
	sent, failed prometheus.Counter
	failing      bool // ExportSpans is not called twice at once
}

func newCollector(next sdktrace.SpanExporter, log logr.Logger, spans *prometheus.CounterVec) *collector {
	return &collector{SpanExporter: next, log: log, sent: spans.WithLabelValues("sent"), failed: spans.WithLabelValues("failed")}
}

// ExportSpans sends a batch. Its error stays here.
func (c *collector) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil && c.failing:
		c.log.Info("spans are taken again")
	case err != nil && !c.failing:
		c.log.Error(err, "spans are not taken; they are dropped until they are")
	}
	if c.failing = err != nil; c.failing {
		c.failed.Add(float64(len(spans)))
	} else {
		c.sent.Add(float64(len(spans)))
	}
	return nil
}
