// SPDX-License-Identifier: Apache-2.0

// Package span creates OpenTelemetry spans, if the request is traced.
//
//	ctx, s := span.Start(ctx, "lookup")
//	defer s.End()
//	s.Text("tagpin.registry", host)
//
// A trace begins with a request (Serve). Code that gets the request's context can add spans to it.
// If the context has no sampled trace, the functions do nothing and allocate nothing. The package
// uses no global tracer and exports nothing itself: that is up to the provider.
//
// Attributes are limited in size. A failed span has the class of its error, and never the error's
// text.
package span

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the name of the tracer of all spans.
const tracerName = "github.com/tagpin/tagpin"

// maxText is the greatest length of a text attribute, in bytes. Names of hosts and objects are
// shorter.
const maxText = 256

// Span is a span of a trace. The methods of the zero value do nothing.
type Span struct{ span trace.Span }

// Serve starts the span of a request that was received. If the header names the caller's span
// (traceparent, W3C Trace Context), that is the parent. The provider decides whether to sample.
func Serve(
	ctx context.Context, p trace.TracerProvider, name string, h http.Header,
) (context.Context, Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
	ctx, s := p.Tracer(tracerName).Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{s}
}

// Start starts a child of the context's span.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// Call starts a child of the context's span, for a request to another server.
func Call(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindClient)
}

// start asks whether the parent is sampled, and not whether it is still recording: the parent of a
// lookup has ended if the caller that began the lookup has gone.
func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, Span{}
	}
	tracer := parent.TracerProvider().Tracer(tracerName)
	ctx, s := tracer.Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{s}
}

// Of returns the context's span. If there is none, its methods do nothing.
func Of(ctx context.Context) Span { return Span{trace.SpanFromContext(ctx)} }

// TraceID returns the ID of the context's trace, or "" if there is none that is sampled.
func TraceID(ctx context.Context) string {
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}

// Recording reports whether the span keeps attributes. Callers for which an attribute costs
// something to compute ask first.
func (s Span) Recording() bool { return s.span != nil && s.span.IsRecording() }

// Text sets a text attribute, unless value is empty. It cuts the value to 256 bytes and makes it
// valid UTF-8: a single invalid text would make the export of a whole batch of spans fail.
func (s Span) Text(key, value string) {
	if value != "" && s.Recording() {
		if len(value) > maxText {
			value = value[:maxText]
		}
		s.span.SetAttributes(attribute.String(key, strings.ToValidUTF8(value, "�")))
	}
}

// Number sets a numeric attribute.
func (s Span) Number(key string, n int) {
	if s.Recording() {
		s.span.SetAttributes(attribute.Int(key, n))
	}
}

// Fail marks the span as failed. The class is one of a closed set, and not an error's text.
func (s Span) Fail(class string) {
	if s.Recording() {
		s.span.SetAttributes(attribute.String("error.type", class))
		s.span.SetStatus(codes.Error, class)
	}
}

// End ends the span. Later changes of it are lost.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}
