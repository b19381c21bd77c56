// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tagpin/tagpin/pkg/fair"
)

const (
	// maxHandshake bounds the bytes that a server may send until its TLS handshake is over.
	// Registries send about 8 KiB. Go would hold a Certificate message of up to 256 KiB.
	maxHandshake = 64 << 10
	// maxBesideBody bounds the bytes that a server may send for one request beside the body. A header
	// has up to 32 KiB, and the session tickets of TLS have a few KiB. If all 64 KiB change keys, they
	// take the processor about 20 ms.
	maxBesideBody = 64 << 10
	// maxDNS bounds the bytes of an answer of DNS over TCP. 4 KiB have 250 addresses. Go needs 200
	// bytes for each of them as long as it connects, and would take 64 KiB.
	maxDNS = 4 << 10
)

var (
	// ErrNoRoom reports that no connection was made because too many are being made. It says nothing
	// about the host.
	ErrNoRoom = errors.New("too many connections are being made")

	errDNS       = errors.New("DNS answer too long")
	errHandshake = errors.New("TLS handshake too long")
	errBeside    = errors.New("too many bytes beside the body")
)

// dialFunc connects to an address.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// inRoom returns a dial function that fails with ErrNoRoom if there is no room for one more
// connection of the request's sender and namespace.
func inRoom(dials *fair.Room, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		leave, err := enter(ctx, dials)
		if err != nil {
			return nil, err
		}
		defer leave()
		return dial(ctx, network, address)
	}
}

// inRoomUntilReady is like inRoom for connections to a proxy, through which net/http makes a TLS
// connection itself. Until that is ready, the connection keeps its room, a deadline, and a bound of
// the bytes that are read.
func inRoomUntilReady(dials *fair.Room, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		leave, err := enter(ctx, dials)
		if err != nil {
			return nil, err
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			leave()
			return nil, err
		}
		leave = sync.OnceFunc(leave)
		progressOf(ctx).handshakeDone.Store(&leave) // net/http may keep conn for another request

		// CONNECT and the handshake have as long as a connection and its handshake elsewhere.
		_ = conn.SetDeadline(time.Now().Add(2 * connectTimeout))
		if proxy := boundOf(conn); proxy != nil {
			proxy.left.Store(math.MaxInt64) // the operator chose it, and hosts are bounded above it
		}
		bounded := newBounded(conn, maxHandshake, errHandshake)
		bounded.leave = leave
		return bounded, nil
	}
}

// enter enters the room for the sender and namespace of a request.
func enter(ctx context.Context, dials *fair.Room) (leave func(), err error) {
	p := progressOf(ctx)
	p.dialBegan.Store(nil)
	leave = func() {}
	if p.caller.Sender != "" { // a command-line tool has no sender
		if leave, err = dials.Enter(p.caller.Sender, p.caller.Namespace, 1); err != nil {
			return nil, ErrNoRoom
		}
	}
	p.dials()
	p.caller.begun()
	return leave, nil
}

// overTLS returns a dial function that makes a TLS connection over one of dial. It bounds the bytes
// that are read until the handshake is over, and after that.
func overTLS(settings tlsSettings, dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		plain, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		bounded := newBounded(plain, maxHandshake, errHandshake)
		conn := tls.Client(bounded, settings.config(host))
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = plain.Close()
			return nil, err
		}
		bounded.ready()
		return conn, nil
	}
}

// boundedConn is a connection from which only so much is read as an answer needs. Otherwise a
// server could change the keys of TLS again and again, which costs time and yields nothing. Until
// the connection is ready, a number of bytes may be read. From then on, each request may read
// maxBesideBody, and the bytes of its body and an eighth of them. A record of TLS with 250 bytes of
// data or more is longer than they are by less than an eighth.
type boundedConn struct {
	net.Conn
	left    atomic.Int64 // bytes that may be read, in eighths
	err     error        // if nothing is left before the connection is ready
	isReady atomic.Bool
	leave   func() // may be nil, and may be called several times
}

// newBounded returns a connection from which at most limit bytes are read until it is ready, and
// then err.
func newBounded(conn net.Conn, limit int64, err error) *boundedConn {
	c := &boundedConn{Conn: conn, err: err}
	c.left.Store(8 * limit)
	return c
}

func (c *boundedConn) Read(p []byte) (int, error) {
	room := max(0, min(c.left.Load()/8, int64(len(p))))
	if room == 0 && len(p) > 0 {
		if c.isReady.Load() {
			return 0, errBeside
		}
		return 0, c.err
	}
	n, err := c.Conn.Read(p[:room])
	c.left.Add(-8 * int64(n))
	return n, err
}

// ready is called when a request gets the connection.
func (c *boundedConn) ready() {
	c.left.Store(8 * maxBesideBody)
	c.isReady.Store(true)
	if c.leave != nil {
		c.leave()
		_ = c.SetDeadline(time.Time{})
	}
}

// got is called when n bytes of a body have come.
func (c *boundedConn) got(n int) { c.left.Add(9 * int64(n)) }

// Close gives the connection's room back and closes it.
func (c *boundedConn) Close() error {
	c.ready()
	return c.Conn.Close()
}

// boundOf returns the uppermost bound of a connection, or nil if there is none.
func boundOf(conn net.Conn) *boundedConn {
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	bounded, _ := conn.(*boundedConn)
	return bounded
}

// boundedBody is the body of an answer. What is read from it may also be read from its connection.
type boundedBody struct {
	io.ReadCloser
	conn *boundedConn
}

// maxRead is how much of a body is read at once. net/http reads until it has that many bytes of a
// chunked body, and only then they count.
const maxRead = maxBesideBody / 4

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), maxRead)])
	b.conn.got(n)
	return n, err
}
