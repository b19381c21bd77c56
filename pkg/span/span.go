// SPDX-License-Identifier: Apache-2.0

// Package span makes the spans of a trace, where there is one.
//
//	ctx, s := span.Start(ctx, "lookup")
//	defer s.End()
//	s.Text("tagpin.registry", host)
//
// A trace begins with a request (Serve); whoever gets its context adds to it. Where the context has none, or one that is
// not sampled, nothing is done and nothing allocated. The package knows no global and sends nothing anywhere: what becomes
// of spans is the tracer's, and its SDK's.
//
// What is told of a span is bounded, and never an error's text: a class says what failed.
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

// scope is the name under which OpenTelemetry has the spans below the first.
const scope = "github.com/tagpin/tagpin"

// maxText bounds a text; it is longer than any name of a host or an object.
const maxText = 256

// Span is one in a trace. The zero value is none.
type Span struct{ of trace.Span }

// Serve begins the span of a request that was received: below its caller's, where the header names one (traceparent,
// W3C Trace Context). Whether it is sampled is the tracer's to say.
func Serve(ctx context.Context, t trace.Tracer, name string, h http.Header) (context.Context, Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(h))
	ctx, of := t.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
	return ctx, Span{of}
}

// Start begins a span below the context's.
func Start(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindInternal)
}

// Call begins the span of a request to another server.
func Call(ctx context.Context, name string) (context.Context, Span) {
	return start(ctx, name, trace.SpanKindClient)
}

// start asks whether the parent is sampled, not whether it still records: it may have ended, as that of a caller who has
// gone while his look-up goes on.
func start(ctx context.Context, name string, kind trace.SpanKind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, Span{}
	}
	ctx, of := parent.TracerProvider().Tracer(scope).Start(ctx, name, trace.WithSpanKind(kind))
	return ctx, Span{of}
}

// Of is the context's span.
func Of(ctx context.Context) Span {
	if of := trace.SpanFromContext(ctx); of.IsRecording() {
		return Span{of}
	}
	return Span{}
}

// Under is ctx with the span of another context: for work that lives longer than that.
func Under(ctx, parent context.Context) context.Context {
	if of := trace.SpanFromContext(parent); of.SpanContext().IsSampled() {
		return trace.ContextWithSpan(ctx, of)
	}
	return ctx
}

// TraceID is the ID of the context's trace; empty where it is not sampled.
func TraceID(ctx context.Context) string {
	if of := trace.SpanContextFromContext(ctx); of.IsSampled() {
		return of.TraceID().String()
	}
	return ""
}

// Recording tells whether there is anything to tell: where a text costs something to make, ask before.
func (s Span) Recording() bool { return s.of != nil && s.of.IsRecording() }

// Text tells a text, if it is not empty: cut to 256 bytes, and valid UTF-8, without which a whole batch of spans can't be
// sent.
func (s Span) Text(key, value string) {
	if value != "" && s.Recording() {
		if len(value) > maxText {
			value = value[:maxText]
		}
		s.of.SetAttributes(attribute.String(key, strings.ToValidUTF8(value, "�")))
	}
}

// Number tells a number.
func (s Span) Number(key string, n int) {
	if s.Recording() {
		s.of.SetAttributes(attribute.Int(key, n))
	}
}

// Fail marks the span as failed. class is of a closed set.
func (s Span) Fail(class string) {
	if s.Recording() {
		s.of.SetAttributes(attribute.String("error.type", class))
		s.of.SetStatus(codes.Error, class)
	}
}

// End ends it. What is told afterwards is lost.
func (s Span) End() {
	if s.of != nil {
		s.of.End()
	}
}
