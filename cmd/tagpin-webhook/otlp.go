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

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// maxReply bounds what is read of an endpoint's answer, only to use the connection again.
const maxReply = 64 << 10

// otlp sends spans by OTLP over HTTP, a POST a batch. OpenTelemetry's own client links gRPC and its gateway to do so: 70
// packages more, for a server that mostly traces nothing.
type otlp struct {
	url    string      // its path may hold a secret
	host   string      // what is told of it
	header http.Header // may hold secrets
	client http.Client
}

// newOTLP takes the endpoint's URL, and headers as OTEL_EXPORTER_OTLP_HEADERS has them: name=value, comma-separated, each
// percent-encoded.
func newOTLP(endpoint, headers string) (*otlp, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, errors.New("the endpoint is no URL") // which the error would repeat
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	o := &otlp{url: u.String(), host: u.Host, header: http.Header{}}
	for i, entry := range strings.FieldsFunc(headers, func(r rune) bool { return r == ',' }) {
		name, escaped, ok := strings.Cut(strings.TrimSpace(entry), "=")
		value, err := url.PathUnescape(strings.TrimSpace(escaped))
		if name = strings.TrimSpace(name); !ok || err != nil || name == "" || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_HEADERS: entry %d is no name=value", i+1)
		}
		o.header.Set(name, value)
	}
	o.header.Set("Content-Type", "application/x-protobuf")
	o.header.Set("User-Agent", userAgent())
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nobody has put another one there
	o.client = http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return o, nil
}

// Start does nothing: connections are made when there are spans.
func (*otlp) Start(context.Context) error { return nil }

// Stop closes idle connections.
func (o *otlp) Stop(context.Context) error {
	o.client.CloseIdleConnections()
	return nil
}

// UploadTraces sends a batch. What the endpoint answers is not told, but for its status; nor its URL, but for the host.
func (o *otlp) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// On the wire this is an ExportTraceServiceRequest, whose own type comes with gRPC.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
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
