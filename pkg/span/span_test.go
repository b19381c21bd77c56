// SPDX-License-Identifier: Apache-2.0

package span_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tagpin/tagpin/pkg/span"
)

const traceID = "0af7651916cd43dd8448eb211c80319c"

// caller is the header of a caller whose trace is sampled, or is not.
func caller(flags string) http.Header {
	return http.Header{"Traceparent": {"00-" + traceID + "-b7ad6b7169203331-" + flags}}
}

// record gives a tracer that takes what its parent says and else nothing, and what it records.
func record(t *testing.T) (trace.Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	t.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(t.Context())) })
	return provider.Tracer("test"), recorder
}

func TestOffCostsNothing(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		below, s := span.Start(span.Under(ctx, ctx), "lookup")
		s.Text("host", "a.b")
		s.Number("n", 1)
		s.Fail("unavailable")
		if s.Recording() || span.Of(below).Recording() || span.TraceID(below) != "" || below != ctx {
			t.Error("there is a span where there is no trace")
		}
		s.End()
	}); n != 0 {
		t.Errorf("%v allocations without a trace, want none", n)
	}
}

func TestParentDecides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		want   int
	}{
		{"sampled", caller("01"), 2},
		{"not sampled", caller("00"), 0},
		{"no trace", nil, 0},
		{"nonsense", http.Header{"Traceparent": {"00-x-y-01"}}, 0},
	} {
		tracer, recorder := record(t)
		ctx, root := span.Serve(t.Context(), tracer, "review", tt.header)
		_, s := span.Call(ctx, "below")
		s.End()
		root.End()
		ended := recorder.Ended()
		if len(ended) != tt.want {
			t.Errorf("%s: %d spans, want %d", tt.name, len(ended), tt.want)
			continue
		}
		for _, s := range ended {
			if got := s.SpanContext().TraceID().String(); got != traceID {
				t.Errorf("%s: span %s is of trace %s, want the caller's, %s", tt.name, s.Name(), got, traceID)
			}
		}
	}
}

// A look-up goes on after the one who began it has gone.
func TestParentHasEnded(t *testing.T) {
	tracer, recorder := record(t)
	ctx, root := span.Serve(t.Context(), tracer, "review", caller("01"))
	later := span.Under(context.Background(), ctx)
	root.End()
	_, s := span.Start(later, "later")
	s.End()
	if ended := recorder.Ended(); len(ended) != 2 || ended[1].Parent().SpanID() != ended[0].SpanContext().SpanID() {
		t.Errorf("spans %v, want a second one below the first", ended)
	}
}

func TestTextsAreBounded(t *testing.T) {
	tracer, recorder := record(t)
	ctx, s := span.Serve(t.Context(), tracer, "review", caller("01"))
	s.Text("long", strings.Repeat("ä", 5000))
	s.Text("broken", "a\xff\xfeb")
	s.Text("empty", "")
	span.Of(ctx).Fail("refused")
	s.End()
	attributes := recorder.Ended()[0].Attributes()
	var keys []string
	for _, a := range attributes {
		keys = append(keys, string(a.Key))
		if v := a.Value.AsString(); len(v) > 260 || !utf8.ValidString(v) || v == "" {
			t.Errorf("%s = %q, want it short and valid", a.Key, v)
		}
	}
	if want := []string{"long", "broken", "error.type"}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
}
