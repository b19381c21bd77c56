// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"crypto/tls"
	"errors"
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
		return &boundedConn{Conn: conn, max: maxHandshake, err: errHandshake, leave: leave}, nil
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
// that are read until the handshake is over.
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
		bounded := &boundedConn{Conn: plain, max: maxHandshake, err: errHandshake}
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

// boundedConn is a connection from which at most max bytes are read until it is ready.
type boundedConn struct {
	net.Conn
	max, read int // bytes; only used until the connection is ready
	err       error
	over      atomic.Bool
	leave     func() // may be nil, and may be called several times
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.over.Load() {
		return c.Conn.Read(p)
	}
	if c.read >= c.max {
		return 0, c.err
	}
	n, err := c.Conn.Read(p[:min(len(p), c.max-c.read)])
	c.read += n
	return n, err
}

// ready ends the bound.
func (c *boundedConn) ready() {
	c.over.Store(true)
	if c.leave != nil {
		c.leave()
		_ = c.SetDeadline(time.Time{})
	}
}

// Close ends the bound and closes the connection.
func (c *boundedConn) Close() error {
	c.ready()
	return c.Conn.Close()
}

// markReady ends the bound of a connection that a request has got.
func markReady(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *boundedConn:
			c.ready()
			conn = c.Conn // which is another one if the proxy is spoken to over TLS
		default:
			return
		}
	}
}
