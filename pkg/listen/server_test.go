// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// connect serves the connections of l with a handler that knows no path, and returns a connection
// from this machine.
func connect(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	server := l.Server(http.NotFoundHandler())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until the test ends
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestLostPlace checks that a handler learns that the connection of its request has lost its place,
// although most of the body is missing.
func TestLostPlace(t *testing.T) {
	l := newListener(t, Bounds{Connections: 2, PerPeer: 2, IdleTime: time.Minute})
	began, lost := make(chan string), make(chan string, 3)
	server := l.Server(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		over := make(chan struct{})
		WhenLost(r, sync.OnceFunc(func() { close(over) }))
		began <- r.URL.Path
		<-over
		lost <- r.URL.Path
	}))
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(l) // until the test ends
	}()
	defer func() { _ = server.Close(); <-served }()
	begin := func(from, path string) {
		t.Helper()
		local := &net.TCPAddr{IP: net.ParseIP(from)}
		conn, err := (&net.Dialer{LocalAddr: local}).DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx", path)
		if got := <-began; err != nil || got != path {
			t.Fatalf("%s began, %v, want %s", got, err, path)
		}
	}
	begin("127.0.0.1", "/first")
	begin("127.0.0.1", "/second")
	begin("127.0.0.2", "/third")
	if got := <-lost; got != "/first" {
		t.Errorf("%s has lost its place, want /first", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.open {
		c.lose() // so that the other handlers end
	}
}

// TestLostWhileIdle checks that a connection that is idle does not hold the function of the request
// before, and does not call it.
func TestLostWhileIdle(t *testing.T) {
	c := &conn{listener: newListener(t, Bounds{Connections: 1, PerPeer: 1, IdleTime: time.Minute})}
	c.whenLost(func() { t.Error("the function of a request was called after its end") })
	c.idle()
	c.lose()
	if c.onLoss.Load() != nil {
		t.Error("an idle connection holds a function")
	}
}

// TestHeaderBehindARequest checks the limit of a header that comes in the same bytes as the request
// before.
func TestHeaderBehindARequest(t *testing.T) {
	l := newListener(t, Bounds{Connections: 5, PerPeer: 5, IdleTime: time.Minute})
	conn := connect(t, l)
	var text strings.Builder
	text.WriteString("GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\n")
	for n := range 2 * maxHeaderLines {
		fmt.Fprintf(&text, "a%d:\r\n", n)
	}
	if _, err := io.WriteString(conn, text.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(conn)
	for _, want := range []int{http.StatusNotFound, http.StatusRequestHeaderFieldsTooLarge} {
		resp, err := http.ReadResponse(answers, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("answer = %+v, %v, want %d", resp, err, want)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// TestHandshakeFails checks the answer to HTTP on a port that speaks TLS, and that the failed
// handshake is logged and counted.
func TestHandshakeFails(t *testing.T) {
	l := newListener(t, Bounds{Connections: 5, PerPeer: 5, IdleTime: time.Minute})
	lines := make(chan string, 1)
	l.port.Log = funcr.New(func(_, args string) { lines <- args }, funcr.Options{})
	l.port.TLS = &tls.Config{}
	conn := connect(t, l)
	if _, err := io.WriteString(conn, "GET /enforce HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(conn); !strings.Contains(string(answer), "HTTPS") {
		t.Errorf("answer = %q, want one that names HTTPS", answer)
	}
	if line := <-lines; !strings.Contains(line, "TLS handshake failed") {
		t.Errorf("logged %s, want the failed handshake", line)
	}
	counter := l.port.Metrics.closed.WithLabelValues("webhook", string(closeHandshake))
	if got := testutil.ToFloat64(counter); got != 1 {
		t.Errorf("%v failed handshakes counted, want 1", got)
	}
}

// TestHandshakesAreBounded checks that an endless handshake is not read to its end.
func TestHandshakesAreBounded(t *testing.T) {
	l := newListener(t, Bounds{Connections: 5, PerPeer: 5, IdleTime: time.Minute})
	l.port.TLS = &tls.Config{}
	conn := connect(t, l)
	// The records of 16 KiB belong to one ClientHello that claims to be longer than any (RFC 8446,
	// sections 4 and 5.1).
	record := append([]byte{22, 3, 1, 0x40, 0}, make([]byte, 0x4000)...)
	copy(record[5:], []byte{1, 0, 0xff, 0xff})
	closed := make(chan struct{})
	go func() { defer close(closed); _, _ = io.Copy(io.Discard, conn) }()
	for range maxHandshakeBytes/0x4000 + 1 {
		_, _ = conn.Write(record)
	}
	select {
	case <-closed:
	case <-time.After(2 * time.Second): // the handshake's own deadline is later
		t.Error("the server still reads")
	}
}
