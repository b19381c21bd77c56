// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxReply limits what is read of the endpoint's response, which is read so that the connection can
// be used again.
const maxReply = 64 << 10

// otlp is an otlptrace.Client that sends spans over HTTP, one request for each batch. The library
// otlptracehttp does the same, but links gRPC and its gateway, 70 packages more, into a server that
// mostly has tracing switched off.
type otlp struct {
	log   logr.Logger
	spans *prometheus.CounterVec // by result

	url    string // its path may contain a secret
	host   string // for error texts
	header http.Header
	client http.Client

	failing bool // the last batch failed; batches are not sent concurrently
}

// newOTLP takes the URL of the endpoint, and headers in the format of OTEL_EXPORTER_OTLP_HEADERS:
// name=value, separated by commas, each percent-encoded.
func newOTLP(endpoint, headers string) (*otlp, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("the endpoint is not a URL") // err would quote it
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	o := &otlp{url: u.String(), host: u.Host, header: http.Header{}}
	entries := strings.FieldsFunc(headers, func(r rune) bool { return r == ',' })
	for i, entry := range entries {
		name, escaped, ok := strings.Cut(strings.TrimSpace(entry), "=")
		name = strings.TrimSpace(name)
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if !ok || err != nil || name == "" || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: entry %d is not name=value", i+1)
		}
		o.header.Set(name, value)
	}
	o.header.Set("Content-Type", "application/x-protobuf")
	o.header.Set("User-Agent", userAgent())
	o.client.CheckRedirect = func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}
	return o, nil
}

// Start does nothing. The first batch connects.
func (*otlp) Start(context.Context) error { return nil }

// Stop closes idle connections.
func (o *otlp) Stop(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends a batch, counts its spans, and logs the first failure until the endpoint
// accepts spans again. It returns no error.
func (o *otlp) UploadTraces(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	err := o.send(ctx, batch)
	result := "sent"
	switch {
	case err != nil && !o.failing:
		o.log.Error(err, "the endpoint does not accept spans; they are dropped until it does")
	case err == nil && o.failing:
		o.log.Info("the endpoint accepts spans again")
	}
	if o.failing = err != nil; o.failing {
		result = "failed"
	}
	for _, resource := range batch {
		for _, scope := range resource.ScopeSpans {
			o.spans.WithLabelValues(result).Add(float64(len(scope.Spans)))
		}
	}
	return nil
}

// send sends a batch. Of the URL, its errors only contain the host, and of the response the status.
func (o *otlp) send(ctx context.Context, batch []*tracepb.ResourceSpans) error {
	// The encoding is that of an ExportTraceServiceRequest, whose own type needs gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: batch})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = o.header.Clone()
	resp, err := o.client.Do(req)
	if whole := new(url.Error); errors.As(err, &whole) {
		err = whole.Err
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.host, err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, maxReply)
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s: %s", o.host, resp.Status)
	}
	return nil
}
