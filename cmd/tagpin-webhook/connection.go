// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// An API server that dies without closing its connections is noticed by HTTP/2 pings: one is sent
// when nothing was received for pingAfter, and an answer has to come within pingTimeout. client-go
// itself takes 45 s for the two, during which every read of a pull secret would hang.
const (
	pingAfter   = 5 * time.Second
	pingTimeout = 5 * time.Second
)

// connection is the connection of all clients to the API server. It notices when the API server is
// gone, and reads the API server's clock. A nil connection knows the time of this machine alone.
type connection struct {
	pingAfter, pingTimeout time.Duration

	mu   sync.Mutex
	date time.Time // the latest Date header; zero if none has come yet
	at   time.Time // when that header came, by the clock of this machine
}

// use makes the clients that are made of a config use the connection.
func (c *connection) use(config *rest.Config) { config.Wrap(c.wrap) }

// wrap is a transport.WrapperFunc of client-go.
func (c *connection) wrap(next http.RoundTripper) http.RoundTripper {
	c.ping(next)
	return &dated{next: next, connection: c}
}

// ping switches pings on in client-go's transport, which is inside of wrappers. No client uses the
// transport yet, since client-go keeps one for each set of TLS options.
func (c *connection) ping(rt http.RoundTripper) {
	for {
		switch t := rt.(type) {
		case *http.Transport:
			if t.HTTP2 == nil && t != http.DefaultTransport {
				t.HTTP2 = &http.HTTP2Config{SendPingTimeout: c.pingAfter, PingTimeout: c.pingTimeout}
			}
			return
		case utilnet.RoundTripperWrapper:
			rt = t.WrappedRoundTripper()
		default:
			return
		}
	}
}

// now returns the time by the API server's clock, which decides whether a certificate is valid.
// Until an answer has come, it is the time of this machine.
func (c *connection) now() time.Time {
	if c == nil {
		return time.Now()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.date.IsZero() {
		return time.Now()
	}
	return c.date.Add(time.Since(c.at))
}

// dated is a transport that notes the date of each answer.
type dated struct {
	next       http.RoundTripper
	connection *connection
}

// RoundTrip implements http.RoundTripper.
func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		d.connection.mu.Lock()
		d.connection.date, d.connection.at = date, time.Now()
		d.connection.mu.Unlock()
	}
	return resp, nil
}

// WrappedRoundTripper lets client-go find the transport, whose idle connections it closes.
func (d *dated) WrappedRoundTripper() http.RoundTripper { return d.next }
