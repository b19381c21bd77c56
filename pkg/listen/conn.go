// SPDX-License-Identifier: Apache-2.0

package listen

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// conn is a connection as http.Server reads it, which is above TLS. It limits the lines of each
// header, and knows when the first byte of a request came. Times are since the listener's start.
type conn struct {
	net.Conn // above TLS, if there is TLS

	listener *Listener
	peer     netip.Addr
	raw      *limited  // below TLS
	tls      *tls.Conn // nil without TLS
	expires  int64     // if not 0, the connection is closed after the first answer from then on

	ready  bool // the handshake is over
	header headerLines
	first  atomic.Int64 // when the first byte of the request came; 0 if none came yet
	busy   atomic.Bool  // a request is being answered, and the server doesn't wait for the peer
	lost   atomic.Bool  // another connection has taken the place
	onLoss atomic.Pointer[func()]
	// since is when the connection was opened, became idle or got its request.
	since atomic.Int64
}

// Read makes the TLS handshake before it reads anything.
func (c *conn) Read(p []byte) (int, error) {
	if !c.ready {
		if err := c.handshake(); err != nil {
			return 0, io.EOF // http.Server logs nothing about it
		}
		c.ready = true
		// http.Server gives the first header HeaderTime from the start. But API servers open
		// connections ahead, and send nothing until they need one.
		_ = c.SetReadDeadline(time.Now().Add(c.listener.port.Bounds.IdleTime))
		defer func() { _ = c.SetReadDeadline(time.Now().Add(HeaderTime)) }()
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if c.first.Load() == 0 {
		c.first.Store(c.listener.now())
	}
	if !c.header.add(p[:n]) {
		c.listener.closedEarly(c, closeHeader)
		return 0, io.EOF
	}
	return n, err
}

// handshake makes the TLS handshake. http.Server's deadline for the first header limits the time
// for reading.
func (c *conn) handshake() error {
	if c.tls == nil {
		return nil
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(HeaderTime))
	err := c.tls.HandshakeContext(context.Background())
	switch {
	case err == nil && !c.listener.handshakeDone(c):
		c.listener.closedEarly(c, closeRefused)
		return io.EOF
	case err == nil:
		_ = c.raw.SetWriteDeadline(time.Time{})
		c.raw.unlimited = true
		return nil
	case errors.Is(err, io.EOF):
		return err // the peer only checked whether the port is open
	}
	c.listener.closedEarly(c, closeHandshake, "reason", err.Error())
	if plain := new(tls.RecordHeaderError); errors.As(err, plain) && plain.Conn != nil {
		_, _ = io.WriteString(plain.Conn,
			"HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS.\n")
	}
	return err
}

// CloseWrite lets http.Server end an answer before the whole request has come.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close closes the connection and gives its place back.
func (c *conn) Close() error {
	c.listener.leave(c)
	return c.Conn.Close()
}

// began returns when the first byte of the current request came.
func (c *conn) began() time.Time {
	if first := c.first.Load(); first != 0 {
		return c.listener.start.Add(time.Duration(first))
	}
	return time.Now() // the request came together with the one before
}

// idle prepares the connection for the next request.
func (c *conn) idle() {
	c.header = headerLines{}
	c.first.Store(0)
	c.onLoss.Store(nil)
	c.busy.Store(false)
	c.since.Store(c.listener.now())
}

// whenLost calls do once the place is lost. It replaces the function of the request before.
func (c *conn) whenLost(do func()) {
	c.onLoss.Store(&do)
	if c.lost.Load() {
		do()
	}
}

// lose ends the request that is being answered.
func (c *conn) lose() {
	c.lost.Store(true)
	if do := c.onLoss.Load(); do != nil {
		(*do)()
	}
}

// expired reports whether the connection has reached its greatest age, or all must end.
func (c *conn) expired() bool {
	return c.listener.expired.Load() || c.expires > 0 && c.listener.now() >= c.expires
}

// peerOf returns the address that a connection comes from.
func peerOf(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// headerLines counts the lines of a header as they are read.
type headerLines struct {
	lines  int
	inLine bool // the current line has begun
	ended  bool
}

// add counts the lines of the next bytes, and reports whether the header still has few enough.
func (h *headerLines) add(p []byte) bool {
	for !h.ended && len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		h.inLine = h.inLine || len(bytes.TrimRight(line, "\r")) > 0
		if !whole {
			return true
		}
		if p = rest; !h.inLine {
			h.ended = h.lines > 0 // empty lines before a request don't belong to it
			continue
		}
		h.inLine = false
		if h.lines++; h.lines > maxHeaderLines {
			return false
		}
	}
	return true
}

// limited is a connection below TLS. It limits what is read during the handshake.
type limited struct {
	net.Conn

	read      int
	unlimited bool // the handshake is over
}

// Read fails if more than a handshake is read.
func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.read += n; l.read > maxHandshakeBytes && !l.unlimited {
		return 0, errors.New("the handshake is too large")
	}
	return n, err
}
