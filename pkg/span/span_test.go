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

// traceparent returns the header of a caller. Its trace is sampled if flags is 01, and not if 00.
func traceparent(flags string) http.Header {
	return http.Header{"Traceparent": {"00-" + traceID + "-b7ad6b7169203331-" + flags}}
}

// newProvider returns a provider and the recorder of its spans. It samples a trace if the caller
// does.
func newProvider(t *testing.T) (trace.TracerProvider, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(recorder),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())),
	)
	t.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(t.Context())) })
	return provider, recorder
}

func TestOffCostsNothing(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		below, s := span.Start(ctx, "lookup")
		s.Text("host", "a.b")
		s.Number("n", 1)
		s.Fail("unavailable")
		if s.Recording() || span.Of(below).Recording() || span.TraceID(below) != "" || below != ctx {
			t.Error("Start(ctx without a trace) returns a span, want none")
		}
		s.End()
	}); n != 0 {
		t.Errorf("AllocsPerRun without a trace = %v, want 0", n)
	}
}

func TestParentDecides(t *testing.T) {
	for _, tt := range []struct {
		name   string
		header http.Header
		want   int
	}{
		{"sampled", traceparent("01"), 2},
		{"not sampled", traceparent("00"), 0},
		{"no trace", nil, 0},
		{"malformed header", http.Header{"Traceparent": {"00-x-y-01"}}, 0},
	} {
		provider, recorder := newProvider(t)
		ctx, root := span.Serve(t.Context(), provider, "review", tt.header)
		_, s := span.Call(ctx, "child")
		s.End()
		root.End()
		ended := recorder.Ended()
		if len(ended) != tt.want {
			t.Errorf("%s: recorded %d spans, want %d", tt.name, len(ended), tt.want)
			continue
		}
		for _, s := range ended {
			if got := s.SpanContext().TraceID().String(); got != traceID {
				t.Errorf("%s: trace of span %s = %s, want the caller's, %s",
					tt.name, s.Name(), got, traceID)
			}
		}
	}
}

// TestParentHasEnded tests that a span can have a parent that has ended. A lookup goes on after the
// caller that began it has gone.
func TestParentHasEnded(t *testing.T) {
	provider, recorder := newProvider(t)
	ctx, root := span.Serve(t.Context(), provider, "review", traceparent("01"))
	root.End()
	_, s := span.Start(ctx, "later")
	s.End()
	ended := recorder.Ended()
	if len(ended) != 2 || ended[1].Parent().SpanID() != ended[0].SpanContext().SpanID() {
		t.Errorf("recorded spans %v, want two, the second a child of the first", ended)
	}
}

func TestTextsAreBounded(t *testing.T) {
	provider, recorder := newProvider(t)
	ctx, s := span.Serve(t.Context(), provider, "review", traceparent("01"))
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
			t.Errorf("attribute %s = %q, want a short text of valid UTF-8", a.Key, v)
		}
	}
	if want := []string{"long", "broken", "error.type"}; !slices.Equal(keys, want) {
		t.Errorf("attributes = %q, want %q", keys, want)
	}
}
