// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
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

	"github.com/tagpin/tagpin/pkg/span"
)

const (
	// sampled is the share of reviews that are traced if the API server doesn't say whether to trace.
	sampled = 0.1
	// maxSpans is the number of spans that wait to be sent. More spans are dropped, so that a slow
	// collector doesn't delay reviews.
	maxSpans = 2048
	// sendTime is the time limit for sending a batch, and at the end for sending all that are left.
	sendTime = 3 * time.Second
)

// tracing traces some reviews, and sends their spans to a collector. If nil, it does nothing.
type tracing struct {
	provider *sdktrace.TracerProvider
	log      logr.Logger
}

// newTracing returns nil if endpoint, an OTLP endpoint over HTTP, is empty. OpenTelemetry's
// environment variables for headers, the sampler and attributes of the resource are used too.
func newTracing(
	ctx context.Context, endpoint string, log logr.Logger, r prometheus.Registerer,
) (*tracing, error) {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tagpin_trace_spans_total",
		Help: "Spans for the OTLP endpoint, by result: sent, or failed (it did not accept them). " +
			"Only present while tracing is on.",
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
		return nil, err
	}
	client.log, client.spans = log, spans
	spans.WithLabelValues("sent")
	spans.WithLabelValues("failed")
	attributes := resource.WithAttributes(
		attribute.String("service.name", "tagpin-webhook"),
		attribute.String("service.version", moduleVersion()))
	about, err := resource.New(ctx, attributes, resource.WithFromEnv())
	if err != nil {
		return nil, err
	}
	options := []sdktrace.TracerProviderOption{
		sdktrace.WithResource(about),
		sdktrace.WithBatcher(otlptrace.NewUnstarted(client),
			sdktrace.WithMaxQueueSize(maxSpans), sdktrace.WithExportTimeout(sendTime)),
	}
	if _, set := os.LookupEnv("OTEL_TRACES_SAMPLER"); !set {
		sampler := sdktrace.ParentBased(sdktrace.TraceIDRatioBased(sampled))
		options = append(options, sdktrace.WithSampler(sampler))
	}
	return &tracing{provider: sdktrace.NewTracerProvider(options...), log: log}, nil
}

// wrap returns a handler that creates a span for each review.
func (t *tracing) wrap(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, s := span.Serve(r.Context(), t.provider, "review", r.Header)
		defer s.End()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// close sends the spans that are left. It must be called after the last review.
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
