// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection of a listener, as http.Server reads it: after TLS. It counts the lines of each
// header, and knows when the first byte of a request came.
type conn struct {
	net.Conn // decrypted

	listener *listener
	raw      *metered      // below TLS
	tls      *tls.Conn     // nil: the port has no TLS
	expires  time.Duration // since the start of the listener; 0: never

	shaken bool // the handshake is over
	lines  headerLines
	first  atomic.Int64 // when the request's first byte came, since the start of the listener; 0: it hasn't
	busy   atomic.Bool  // a request is being answered, and nothing is awaited from the peer
	// since is when it was opened, became idle or got its request, since the start of the listener.
	since atomic.Int64
	close sync.Once
}

// Read makes the handshake before it reads anything.
func (c *conn) Read(p []byte) (int, error) {
	if !c.shaken {
		if err := c.handshake(); err != nil {
			return 0, io.EOF // which http.Server closes without a word
		}
		c.shaken = true
		// http.Server gives the first header headerTime from the start. But API servers open
		// connections ahead, and send nothing until they need one.
		_ = c.SetReadDeadline(time.Now().Add(c.listener.idleTime))
		defer func() { _ = c.SetReadDeadline(time.Now().Add(headerTime)) }()
	}
	n, err := c.Conn.Read(p)
	if n == 0 {
		return n, err
	}
	if c.first.Load() == 0 {
		c.first.Store(c.listener.now())
	}
	if !c.lines.read(p[:n]) {
		c.listener.closed(closeHeader, c)
		return 0, io.EOF
	}
	return n, err
}

// handshake makes the TLS handshake. http.Server's deadline for the first header bounds it.
func (c *conn) handshake() error {
	if c.tls == nil {
		return nil
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(headerTime))
	err := c.tls.HandshakeContext(context.Background())
	if err == nil {
		if !c.listener.shaken(c) {
			c.listener.closed(closeRefused, c)
			return io.EOF
		}
		_ = c.raw.SetWriteDeadline(time.Time{})
		c.raw.unmetered = true
		return nil
	}
	if errors.Is(err, io.EOF) {
		return err // somebody has only looked whether the port is open
	}
	c.listener.closed(closeHandshake, c, "reason", err.Error())
	if plain := new(tls.RecordHeaderError); errors.As(err, plain) && plain.Conn != nil {
		_, _ = io.WriteString(plain.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS.\n")
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
	c.close.Do(func() { c.listener.leave(c) })
	return c.Conn.Close()
}

// began returns when the first byte of the request came.
func (c *conn) began() time.Time {
	if first := c.first.Load(); first != 0 {
		return c.listener.start.Add(time.Duration(first))
	}
	return time.Now() // it was sent together with the request before
}

// idle makes the connection ready for the next request.
func (c *conn) idle() {
	c.lines = headerLines{}
	c.first.Store(0)
	c.busy.Store(false)
	c.since.Store(c.listener.now())
}

// old reports whether the connection has reached its greatest age.
func (c *conn) old() bool { return c.expires > 0 && time.Duration(c.listener.now()) >= c.expires }

// headerLines counts the lines of a header as they come.
type headerLines struct {
	lines  int
	inLine bool // the line that is being read has begun
	ended  bool
}

// read reports whether the header still has few enough lines after p.
func (h *headerLines) read(p []byte) bool {
	for !h.ended && len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		h.inLine = h.inLine || len(bytes.TrimRight(line, "\r")) > 0
		if !whole {
			return true
		}
		if p = rest; !h.inLine {
			h.ended = h.lines > 0 // empty lines before a request are none of it
			continue
		}
		h.inLine = false
		if h.lines++; h.lines > maxHeaderLines {
			return false
		}
	}
	return true
}

// metered is a connection below TLS. It bounds what is read of it until it is unmetered.
type metered struct {
	net.Conn

	read      int
	unmetered bool
}

// Read fails when more than a handshake has been read.
func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	if m.unmetered {
		return n, err
	}
	if m.read += n; m.read > maxHandshakeBytes {
		return 0, errors.New("the handshake is too large")
	}
	return n, err
}
