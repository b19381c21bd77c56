// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// receiver is an OTLP endpoint over HTTP.
type receiver struct {
	url string

	mu       sync.Mutex
	spans    []*tracepb.Span
	resource string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		var request tracepb.TracesData
		if err == nil {
			err = proto.Unmarshal(body, &request)
		}
		if err != nil || q.URL.Path != "/v1/traces" ||
			q.Header.Get("Content-Type") != "application/x-protobuf" || q.Header.Get("X-Token") != "a b" {
			t.Errorf("the receiver got %s, %v: %v", q.URL, q.Header, err)
		}
		r.add(&request)
	}))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r *receiver) add(request *tracepb.TracesData) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, of := range request.ResourceSpans {
		r.resource = of.Resource.String()
		for _, scope := range of.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
}

// tree returns the spans by their paths from the root, such as review/lookup.
func (r *receiver) tree() map[string]*tracepb.Span {
	byID := map[string]*tracepb.Span{}
	for _, s := range r.spans {
		byID[string(s.SpanId)] = s
	}
	tree := map[string]*tracepb.Span{}
	for _, s := range r.spans {
		path := s.Name
		for up := byID[string(s.ParentSpanId)]; up != nil; up = byID[string(up.ParentSpanId)] {
			path = up.Name + "/" + path
		}
		tree[path] = s
	}
	return tree
}

// traced is a caller whose trace has flags, which say whether it is sampled.
type traced struct {
	http.RoundTripper
	flags string
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

func (c traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", "00-"+callersTrace+"-"+callersSpan+"-"+c.flags)
	return c.RoundTripper.RoundTrip(r)
}

func (i *instance) tracedCaller(flags string) *http.Client {
	c := i.caller()
	c.Transport = traced{c.Transport, flags}
	return c
}

// TestTracing follows a review from the API server's span to the registry.
func TestTracing(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20b,x-other=1")
	to := newReceiver(t)
	i := startWith(t, 0, fmt.Sprintf("observability: {tracing: %q}\n", to.url))
	i.patch(i.tracedCaller("01"), "/enforce")
	i.patch(i.tracedCaller("00"), "/dry-run") // this trace is not sampled
	i.end()
	tree := to.tree()
	for _, path := range []string{"review", "review/decide", "review/lookup", "review/lookup/credentials", "review/lookup/registry request"} {
		if s := tree[path]; s == nil || hex.EncodeToString(s.TraceId) != callersTrace {
			t.Errorf("span %s = %v, want one in the caller's trace", path, s)
		}
	}
	if len(tree) != 5 || len(to.spans) != 5 {
		t.Errorf("%d spans, want 5: %v", len(to.spans), to.spans)
	}
	if s := tree["review"]; s != nil && hex.EncodeToString(s.ParentSpanId) != callersSpan {
		t.Errorf("the review's parent is %x, want the caller's", s.ParentSpanId)
	}
	whole := to.resource
	for _, s := range to.spans {
		whole += protojson.Format(s)
	}
	for _, want := range []string{"tagpin-webhook", "enforce", "patched", i.registry, "default", `"u1"`} {
		if !strings.Contains(whole, want) {
			t.Errorf("the spans lack %s: %s", want, whole)
		}
	}
	if strings.Contains(whole, "app:1") || strings.Contains(whole, i.digest) {
		t.Errorf("the spans contain the image: %s", whole)
	}
	if !strings.Contains(i.stderr.String(), `"trace":"`+callersTrace+`"`) {
		t.Errorf("the log does not name the trace:\n%s", i.stderr)
	}
}

// TestTracingToNobody checks that an endpoint that accepts nothing delays neither reviews nor the
// end.
func TestTracingToNobody(t *testing.T) {
	release := make(chan struct{})
	for name, answer := range map[string]http.HandlerFunc{
		"hangs":   func(http.ResponseWriter, *http.Request) { <-release },
		"refuses": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(answer)
			server.Config.SetKeepAlivesEnabled(false)
			t.Cleanup(server.Close)
			if name == "hangs" {
				t.Cleanup(func() { close(release) })
			}
			i := startWith(t, 0, fmt.Sprintf("observability: {tracing: %q}\n", server.URL))
			c := i.tracedCaller("01")
			for range maxSpans/2 + 100 { // two spans each, which is more than wait to be sent
				i.patch(c, "/keep")
			}
			i.end()
			if n := strings.Count(i.stderr.String(), "does not accept spans"); n != 1 {
				t.Errorf("the log says %d times that spans are not accepted, want once", n)
			}
		})
	}
}

// TestSecretPath checks that errors only have the host of the URL, because the path may contain a
// secret.
func TestSecretPath(t *testing.T) {
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, tt := range []struct{ url, want string }{
		{refusing.URL, strings.TrimPrefix(refusing.URL, "http://") + ": 404 Not Found"},
		{gone.URL, strings.TrimPrefix(gone.URL, "http://") + ": "},
	} {
		o, err := newOTLP(tt.url+"/secret", "")
		if err != nil {
			t.Fatal(err)
		}
		err = o.send(t.Context(), nil)
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("send = %v, want an error that begins with %s, without the path", err, tt.want)
		}
		_ = o.Stop(t.Context())
	}
	if _, err := newOTLP("http://a:port/secret", ""); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("newOTLP of no URL = %v, want an error without the URL", err)
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct{ endpoint, headers, url string }{
		{"http://a:4318", "", "http://a:4318/v1/traces"},
		{"http://a:4318/", "", "http://a:4318/v1/traces"},
		{"https://a/otlp/v1/traces", "k=v", "https://a/otlp/v1/traces"},
		{"http://a", "secret", ""},
		{"http://a", "=secret", ""},
		{"http://a", "k=v,k2=%zzsecret", ""},
		{"http://a", "k=%0d%0asecret", ""},
	} {
		o, err := newOTLP(tt.endpoint, tt.headers)
		if (err == nil) != (tt.url != "") || err == nil && o.url != tt.url {
			t.Errorf("newOTLP(%s, %s) = %+v, %v, want %s", tt.endpoint, tt.headers, o, err, tt.url)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("newOTLP(%s, %s): %v repeats a secret", tt.endpoint, tt.headers, err)
		}
	}
}
