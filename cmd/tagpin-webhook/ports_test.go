// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tagpin/tagpin/pkg/listen"
)

// maxHandshakes is the number of concurrent TLS handshakes of a port, as deploy/docs/bounds.md
// states it.
const maxHandshakes = 512

// dial opens a connection to a port of the server from an address of this machine.
func (i *instance) dial(port, from string) net.Conn {
	i.t.Helper()
	address, secure := strings.CutPrefix(port, "https://")
	ctx, cancel := context.WithTimeout(i.t.Context(), 30*time.Second)
	defer cancel()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		i.t.Fatal(err)
	}
	if secure {
		return tls.Client(conn, &tls.Config{RootCAs: i.pool, ServerName: "127.0.0.1"})
	}
	return conn
}

// ports returns the addresses of the server by name.
func (i *instance) ports() map[string]string {
	return map[string]string{"webhook": i.webhook, "metrics": i.metrics, "probes": i.probes}
}

// TestHeadersAreBounded checks that no port reads a header to its end if it has many lines, or long
// ones.
func TestHeadersAreBounded(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	const most = 16<<10 + 8<<10 // the limit, and what http.Server and TLS read ahead
	for name, port := range i.ports() {
		for kind, line := range map[string]string{
			"short lines": "a:b\r\n", "long lines": "A: " + strings.Repeat("b", 1000) + "\r\n",
		} {
			conn := i.dial(port, "127.0.0.1")
			if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n"); err != nil {
				t.Fatal(err)
			}
			closed := make(chan struct{})
			go func() { // until the server closes the connection
				defer close(closed)
				_, _ = io.Copy(io.Discard, conn)
			}()
			sent := 0
			for ; sent < most && !isClosed(closed); sent += len(line) {
				if _, err := io.WriteString(conn, line); err != nil {
					break
				}
			}
			select {
			case <-closed:
			case <-time.After(2 * time.Second): // the header's own deadline is later
				t.Errorf("%s: the server still reads after %d bytes of %s", name, sent, kind)
			}
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// TestConnectionsAreBounded checks that many connections that send nothing keep nobody out, on any
// port.
func TestConnectionsAreBounded(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	bounds := map[string]listen.Bounds{
		"webhook": webhookBounds, "metrics": metricsBounds, "probes": probesBounds,
	}
	paths := map[string]string{"webhook": "/enforce", "metrics": "/metrics", "probes": "/readyz"}
	for name, port := range i.ports() {
		b := bounds[name]
		var idle []net.Conn
		for n := range b.Connections + 8 {
			conn := i.dial(port, fmt.Sprintf("127.0.0.%d", 2+n%4))
			if secure, ok := conn.(*tls.Conn); ok {
				conn = secure.NetConn()
			}
			idle = append(idle, conn)
		}
		// The server accepts this connection after all others.
		conn := i.dial(port, "127.0.0.1")
		if _, err := io.WriteString(conn, "GET "+paths[name]+" HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: a peer without other connections gets no answer: %v", name, err)
		}
		_ = resp.Body.Close()
		_ = conn.Close()
		most := b.Connections
		if name == "webhook" {
			most = maxHandshakes
		}
		if open := countOpen(t, idle); open > most {
			t.Errorf("%s: %d idle connections are open, want at most %d", name, open, most)
		}
		for _, conn := range idle {
			_ = conn.Close()
		}
	}
	displaced := fmt.Sprintf(`tagpin_connections_closed_total{port="webhook",reason="displaced"} %d`,
		webhookBounds.Connections+8+1-maxHandshakes)
	if _, text := i.get("http://" + i.metrics + "/metrics"); !strings.Contains(text, displaced) {
		t.Errorf("the metrics lack %s", displaced)
	}
}

// countOpen returns how many of the connections the server has not closed.
func countOpen(t *testing.T, all []net.Conn) int {
	t.Helper()
	open := 0
	for _, conn := range all {
		if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	return open
}

// TestScrapesTakeTurns checks that an address that asks for the metrics over all of its connections
// does not keep another one from them.
func TestScrapesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, hold := new(atomic.Int64), make(chan struct{})
		r := prometheus.NewRegistry()
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow"}, func() float64 {
			reads.Add(1)
			<-hold
			return 1
		}))
		handler, statuses := metricsHandler(r), make(chan int, metricsBounds.PerPeer+1)
		scrape := func(ctx context.Context, from string) {
			request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", http.NoBody)
			request.RemoteAddr = from
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			statuses <- answer.Code
		}
		for n := range metricsBounds.PerPeer {
			go scrape(t.Context(), fmt.Sprintf("192.0.2.1:%d", 1000+n))
		}
		synctest.Wait()
		before := reads.Load()
		go scrape(t.Context(), "192.0.2.2:1000")
		synctest.Wait()
		if now := reads.Load(); before != 1 || now != 2 {
			t.Errorf("%d answers for an address, and %d with another one, want 1 and 2", before, now)
		}
		gone, leave := context.WithCancel(t.Context())
		go scrape(gone, "192.0.2.2:1001")
		synctest.Wait()
		leave()
		if got := <-statuses; got != http.StatusServiceUnavailable {
			t.Errorf("status without a turn = %d, want 503", got)
		}
		close(hold)
		for range metricsBounds.PerPeer + 1 {
			if got := <-statuses; got != http.StatusOK {
				t.Errorf("status = %d, want 200", got)
			}
		}
	})
}

// TestNoHTTP2 checks that the webhook only speaks HTTP/1.1, as API servers do to webhooks.
func TestNoHTTP2(t *testing.T) {
	i := start(t, 0)
	defer i.end()
	_, resp, err := i.review(i.caller(), "/enforce") // the caller prefers HTTP/2
	if err != nil || resp.ProtoMajor != 1 {
		t.Errorf("review = %+v, %v, want an answer over HTTP/1.1", resp, err)
	}
}
