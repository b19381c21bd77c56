// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// from is a connection from an address. It sends nothing.
type from struct {
	net.Conn

	address string
	closed  bool
}

func (f *from) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(f.address), Port: 1} }

func (f *from) Close() error {
	f.closed = true
	return nil
}

func newListener(t *testing.T, b Bounds) *Listener {
	t.Helper()
	l, err := Port{
		Name: "webhook", Address: "127.0.0.1:0", Bounds: b, Metrics: NewMetrics(prometheus.NewRegistry()),
	}.Listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// TestEnter checks which connection is closed for a new one. Each connection is named by its peer;
// "!" means that a request is being answered.
func TestEnter(t *testing.T) {
	for _, tt := range []struct {
		name    string
		open    []string
		next    string
		refused bool
		closed  []int // indexes in open
	}{
		{"there is room", []string{"10.0.0.1", "10.0.0.2"}, "10.0.0.1", false, nil},
		{"a peer loses its own oldest", []string{"10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"}, "10.0.0.1", false, []int{1}},
		{"an address mapped to IPv6 is the same peer", []string{"10.0.0.1", "10.0.0.1", "10.0.0.1"}, "::ffff:10.0.0.1", false, []int{0}},
		{"a request that is being answered stays", []string{"!10.0.0.1", "!10.0.0.1", "10.0.0.1"}, "10.0.0.1", false, []int{2}},
		{"all connections of the peer are busy", []string{"10.0.0.2", "!10.0.0.1", "!10.0.0.1", "!10.0.0.1"}, "10.0.0.1", true, nil},
		{"the peer with the most loses one", []string{"10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.3", "10.0.0.4"}, "10.0.0.5", false, []int{1}},
		{"no connection of the peer with the most waits", []string{"!10.0.0.1", "!10.0.0.1", "!10.0.0.1", "10.0.0.3", "!10.0.0.4"}, "10.0.0.5", false, []int{3}},
		{"the peer with the most loses a request", []string{"!10.0.0.1", "!10.0.0.1", "!10.0.0.1", "!10.0.0.3", "!10.0.0.4"}, "10.0.0.5", false, []int{0}},
		{"its own before another peer's", []string{"10.0.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.3"}, "10.0.0.1", false, []int{2}},
		{"its own before a request", []string{"10.0.0.2", "!10.0.0.1", "!10.0.0.1", "!10.0.0.3", "!10.0.0.3"}, "10.0.0.2", false, []int{0}},
		{"no request for a peer with as many", []string{"!10.0.0.1", "!10.0.0.2", "!10.0.0.3", "!10.0.0.4", "!10.0.0.6"}, "10.0.0.5", true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newListener(t, Bounds{Connections: 5, PerPeer: 3})
			var under []*from
			for n, peer := range tt.open {
				address, busy := strings.CutPrefix(peer, "!")
				under = append(under, &from{address: address})
				c := l.newConn(under[n])
				c.busy.Store(busy)
				c.since.Store(int64(n))
				if !l.enter(c) {
					t.Fatalf("connection %d is refused", n)
				}
			}
			if got := l.enter(l.newConn(&from{address: tt.next})); got == tt.refused {
				t.Errorf("enter = %t, want %t", got, !tt.refused)
			}
			var closed []int
			for n, u := range under {
				if u.closed {
					closed = append(closed, n)
				}
			}
			if diff := cmp.Diff(tt.closed, closed); diff != "" {
				t.Errorf("closed Connections: -want +got\n%s", diff)
			}
		})
	}
}

// TestLeave checks that a closed connection gives its place back once.
func TestLeave(t *testing.T) {
	l := newListener(t, Bounds{Connections: 1, PerPeer: 1})
	first := l.newConn(&from{address: "10.0.0.1"})
	second := l.newConn(&from{address: "10.0.0.1"})
	if !l.enter(first) || !l.enter(second) { // the second one takes the place of the first
		t.Fatal("refused")
	}
	for range 2 {
		_ = first.Close()
	}
	if len(l.open) != 1 {
		t.Errorf("%d connections are open, want the second one", len(l.open))
	}
	_ = second.Close()
	if len(l.open) != 0 {
		t.Errorf("%d connections are open, want none", len(l.open))
	}
}

// half is a connection whose sending side can be closed.
type half struct {
	from

	sent bool // CloseWrite was called
}

func (h *half) CloseWrite() error {
	h.sent = true
	return nil
}

// TestCloseWrite checks that http.Server can end an answer on a port without TLS.
func TestCloseWrite(t *testing.T) {
	under := &half{from: from{address: "10.0.0.1"}}
	c := newListener(t, Bounds{Connections: 1, PerPeer: 1}).newConn(under)
	if err := c.CloseWrite(); err != nil || !under.sent {
		t.Errorf("CloseWrite = %v, sending side closed: %t, want true", err, under.sent)
	}
}

// TestHeaderLines checks that lines are counted up to the empty one, however they are split.
func TestHeaderLines(t *testing.T) {
	line, whole := "a: b\r\n", strings.Repeat("a: b\r\n", maxHeaderLines)
	for _, tt := range []struct {
		name  string
		parts []string
		want  bool
	}{
		{"the greatest number", []string{whole + "\r\n"}, true},
		{"one more", []string{whole + line}, false},
		{"one more, in parts", []string{whole, "a", ": b\r", "\n"}, false},
		{"lines of the body", []string{line + "\r\n" + whole + whole}, true},
		{"lines of the body, in parts", []string{line, "\r", "\n", whole, whole}, true},
		{"without carriage returns", []string{"a: b\n\n" + whole + whole}, true},
		{"empty lines before a request", []string{"\r\n\r\n" + whole + "\r\n" + whole}, true},
		{"empty lines before one that is too long", []string{"\r\n\r\n" + whole + line}, false},
	} {
		var h headerLines
		got := true
		for _, part := range tt.parts {
			got = got && h.add([]byte(part))
		}
		if got != tt.want {
			t.Errorf("%s: add = %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestAge checks that a connection is used again until it has reached its age, and then closed
// after an answer.
func TestAge(t *testing.T) {
	for age, want := range map[time.Duration]int{time.Hour: 1, 2 * time.Nanosecond: 3} {
		l := newListener(t, Bounds{Connections: 5, PerPeer: 5, Age: age, IdleTime: time.Minute})
		var mu sync.Mutex
		peers := map[string]bool{}
		server := httptest.NewUnstartedServer(nil)
		_ = server.Listener.Close()
		handler := func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			peers[r.RemoteAddr] = true
		}
		server.Listener, server.Config = l, l.Server(http.HandlerFunc(handler))
		server.Start()
		for range 3 {
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.Close != (want > 1) {
				t.Errorf("age %s: Connection: close = %t, want %t", age, resp.Close, want > 1)
			}
		}
		server.Close()
		if len(peers) != want {
			t.Errorf("age %s: 3 requests over %d connections, want %d", age, len(peers), want)
		}
	}
}

// TestAgesDiffer checks that connections have different ages, so that they don't end together.
func TestAgesDiffer(t *testing.T) {
	l := newListener(t, Bounds{Connections: 100, PerPeer: 100, Age: time.Hour})
	ages := map[time.Duration]bool{}
	for range 10 {
		c := l.newConn(&from{address: "10.0.0.1"})
		age := time.Duration(c.expires - c.since.Load())
		ages[age.Round(time.Second)] = true
		if age < 30*time.Minute || age > time.Hour {
			t.Errorf("age %s, want between half an hour and an hour", age)
		}
	}
	if len(ages) < 5 {
		t.Errorf("%d different ages of 10 connections, want nearly 10", len(ages))
	}
}

// TestBegan checks that a request begins with its first byte.
func TestBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := &Listener{start: time.Now(), port: Port{Bounds: Bounds{IdleTime: time.Hour}}}
		c := l.newConn(near)
		begin := func() {
			_ = c.SetReadDeadline(time.Time{}) // http.Server sets one before each request
			time.Sleep(time.Minute)
			first := time.Now()
			for _, part := range []string{"POST", " / HTTP/1.1\r\n", "\r\n"} {
				go func() { _, _ = io.WriteString(far, part) }()
				if _, err := c.Read(make([]byte, 100)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
			if got := c.began(); !got.Equal(first) {
				t.Errorf("began = %s, want %s", got, first)
			}
		}
		begin()
		c.idle()
		begin()
		c.idle()
		if got := c.began(); !got.Equal(time.Now()) {
			t.Errorf("began without a byte = %s, want now, %s", got, time.Now())
		}
	})
}

// TestClosedEarly checks that each connection that is closed early is counted, and that the log
// only has some of them.
func TestClosedEarly(t *testing.T) {
	l := newListener(t, Bounds{Connections: 1, PerPeer: 1})
	var lines []string
	l.port.Log = funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
	const many = 1000
	for range many {
		l.closedEarly(l.newConn(&from{address: "10.0.0.1"}), closeHandshake, "reason", "bad certificate")
	}
	if got := testutil.ToFloat64(l.port.Metrics.closed.WithLabelValues("webhook", string(closeHandshake))); got != many {
		t.Errorf("%v connections counted, want %d", got, many)
	}
	if len(lines) == 0 || len(lines) > 12 {
		t.Fatalf("%d lines logged, want between 1 and 12", len(lines))
	}
	for _, want := range []string{"TLS handshake failed", "10.0.0.1", "bad certificate"} {
		if !strings.Contains(lines[0], want) {
			t.Errorf("logged %s, want %q in it", lines[0], want)
		}
	}
}

// TestHandshakesDisplaceNoRequest checks that handshakes that don't end take no places of open
// connections, and that a new handshake ends the oldest one of the peer with the most.
func TestHandshakesDisplaceNoRequest(t *testing.T) {
	l := newListener(t, Bounds{Connections: 2, PerPeer: 2})
	l.port.TLS = &tls.Config{}
	server := &from{address: "10.0.0.1"}
	busy := l.newConn(server)
	if !l.enter(busy) || !l.handshakeDone(busy) {
		t.Fatal("refused")
	}
	busy.busy.Store(true)
	var flood []*from
	for n := range 3 * maxHandshakes {
		flood = append(flood, &from{address: fmt.Sprintf("10.1.%d.1", n%64)})
		if c := l.newConn(flood[n]); !l.enter(c) {
			t.Fatalf("connection %d is refused", n)
		}
	}
	if server.closed || len(l.handshaking) != maxHandshakes ||
		!flood[0].closed || flood[len(flood)-1].closed {
		t.Errorf("the request was cut: %t; %d handshakes are under way, want false and %d",
			server.closed, len(l.handshaking), maxHandshakes)
	}
	next := l.newConn(&from{address: "10.0.0.1"})
	if !l.enter(next) || !l.handshakeDone(next) || server.closed {
		t.Error("the API server's next connection is refused, or has cut its request")
	}
}

// TestFirstRequestComesLate checks that the first request of a connection may come long after the
// handshake, since API servers open connections ahead, and that a header that has begun must end in
// time.
func TestFirstRequestComesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			parts []string // with a silence before each
			quiet time.Duration
			want  bool
		}{
			{[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, time.Minute, true},
			{[]string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, 3 * time.Minute, false},
			{[]string{"GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"}, HeaderTime - time.Second, true},
			{[]string{"GET / HTTP/1.1\r\n", "Host: a\r\n\r\n"}, HeaderTime + time.Second, false},
		} {
			near, far := net.Pipe()
			l := newListener(t, Bounds{Connections: 5, PerPeer: 5, IdleTime: 2 * time.Minute})
			_ = l.Close()
			l.start = time.Now()
			l.Listener = &once{conn: near, closed: make(chan struct{})}
			server := l.Server(http.NotFoundHandler())
			go func() { _ = server.Serve(l) }()
			var wg sync.WaitGroup
			wg.Go(func() {
				for _, part := range tt.parts {
					time.Sleep(tt.quiet)
					_, _ = io.WriteString(far, part)
				}
			})
			_, err := http.ReadResponse(bufio.NewReader(far), nil)
			if got := err == nil; got != tt.want {
				t.Errorf("%q, after %s each: %v, want an answer: %t", tt.parts, tt.quiet, err, tt.want)
			}
			_ = far.Close()
			_ = server.Close()
			wg.Wait()
		}
	})
}

// once is a listener that accepts one connection.
type once struct {
	net.Listener

	conn   net.Conn
	closed chan struct{}
	close  sync.Once
}

func (o *once) Accept() (net.Conn, error) {
	if c := o.conn; c != nil {
		o.conn = nil
		return c, nil
	}
	<-o.closed
	return nil, net.ErrClosed
}

func (o *once) Close() error {
	o.close.Do(func() { close(o.closed) })
	return nil
}
